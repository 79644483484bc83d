"""The interface to which long operations report their progress; dcss.report.progress shows it."""

from typing import Literal, Protocol, TextIO

Unit = Literal["bytes", "guests", "pages", "configurations"]


class Progress(Protocol):
    """Receives the progress of one operation, phase by phase; the next phase ends the one before."""

    def phase(self, name: str, total: int | None = None, unit: Unit | None = None) -> None:
        """Begin a phase; `total` is counted in `unit`, and None if it is not known."""

    def advance(self, amount: int = 1) -> None:
        """Add `amount` to the units of the phase that are done."""

    def warn(self, text: str) -> None:
        """Show one line that the user should read even if all goes well."""

    def close(self) -> None:
        """End the last phase and leave the terminal as it was; may be called twice."""


class SilentProgress:
    """Shows nothing but warnings, which go to `stream` if there is one."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def phase(self, name: str, total: int | None = None, unit: Unit | None = None) -> None:
        """Show nothing."""

    def advance(self, amount: int = 1) -> None:
        """Show nothing."""

    def warn(self, text: str) -> None:
        """Write one line."""
        if self._stream is not None:
            print(f"warning: {text}", file=self._stream, flush=True)

    def close(self) -> None:
        """Show nothing."""
