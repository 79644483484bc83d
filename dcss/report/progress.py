"""Show progress: bars on a terminal, a line for each phase elsewhere."""

import os
import time
from typing import TYPE_CHECKING, TextIO

from dcss.progress import Progress, Unit
from dcss.report.quoting import escaped
from dcss.report.units import fmt_bytes, fmt_count

if TYPE_CHECKING:
    from rich.progress import TaskID

_DRAW_SECONDS = 0.1
_DONE = "green"  # what rich takes by itself looks like the red of a failure


class PlainProgress:
    """Writes a line when a phase ends, for logs and pipes: what was done, how much, and how long it took."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name: str | None = None
        self._unit: Unit | None = None
        self._done = 0
        self._began = 0.0

    def phase(self, name: str, total: int | None = None, unit: Unit | None = None) -> None:
        """End the phase before with its line."""
        del total
        self._end()
        self._name, self._unit, self._done, self._began = name, unit, 0, time.monotonic()

    def advance(self, amount: int = 1) -> None:
        """Count."""
        self._done += amount

    def warn(self, text: str) -> None:
        """Write one line at once."""
        print(f"warning: {text}", file=self._stream, flush=True)

    def close(self) -> None:
        """Write the last phase's line."""
        self._end()

    def _end(self) -> None:
        if self._name is None:
            return
        amount = "" if self._unit is None else f", {fmt_amount(self._done, self._unit)}"
        seconds = time.monotonic() - self._began
        print(f"{self._name}{amount}, {seconds:.2f} s", file=self._stream, flush=True)
        self._name = None


class BarProgress:
    """Shows a bar for each phase on a terminal; at the end they vanish, so that only the result stays."""

    def __init__(self, stream: TextIO) -> None:
        # rich takes a tenth of a second to import: only a terminal pays for it.
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._console = Console(file=stream)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30, complete_style=_DONE, finished_style=_DONE, pulse_style=_DONE),
            TextColumn("{task.fields[amount]}", justify="right"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            # No thread that draws: operations fork, and a fork copies locks that another thread holds.
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._drawn = 0.0
        self._task: TaskID | None = None
        self._unit: Unit | None = None
        self._done = 0
        self._total: int | None = None

    def phase(self, name: str, total: int | None = None, unit: Unit | None = None) -> None:
        """Add a bar; the one before is full."""
        self._finish()
        self._unit, self._done, self._total = unit, 0, total
        self._task = self._bars.add_task(name, total=total, amount=self._amount())
        self._bars.start()
        self._draw()

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        self._done += amount
        if self._task is not None:
            self._bars.update(self._task, completed=self._done, amount=self._amount())
        if time.monotonic() - self._drawn >= _DRAW_SECONDS:
            self._draw()

    def warn(self, text: str) -> None:
        """Write one line above the bars; it stays."""
        self._console.print(f"warning: {escaped(text)}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bars."""
        self._finish()
        self._bars.stop()

    def _draw(self) -> None:
        self._bars.refresh()
        self._drawn = time.monotonic()

    def _finish(self) -> None:
        if self._task is not None:
            done = self._total if self._total is not None else max(self._done, 1)
            self._bars.update(self._task, total=done, completed=done)
            self._task = None

    def _amount(self) -> str:
        if self._unit is None:
            return ""
        done = fmt_amount(self._done, self._unit)
        return done if self._total is None else f"{done} of {fmt_amount(self._total, self._unit)}"


def fmt_amount(amount: int, unit: Unit) -> str:
    """Return an amount with its unit, as a person reads it."""
    return fmt_bytes(amount) if unit == "bytes" else fmt_count(amount, unit.removesuffix("s"))


def progress_for(stream: TextIO) -> Progress:
    """Return bars where `stream` is a terminal that can move its cursor, lines elsewhere."""
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return BarProgress(stream)
    return PlainProgress(stream)
