"""What long operations report their progress to. dcss.report.progress shows it."""

from typing import Literal, Protocol, TextIO

Unit = Literal["bytes", "guests", "pages"]


class Progress(Protocol):
    """Told by whoever works; a phase begins where the last one ends."""

    def phase(self, name: str, total: int | None = None, unit: Unit | None = None) -> None:
        """Begin a phase; `total` is counted in `unit`, and None where nobody knows it."""

    def advance(self, amount: int = 1) -> None:
        """Say that `amount` more units of the phase are done."""

    def warn(self, text: str) -> None:
        """Show one line that the user should read even if all goes well."""

    def close(self) -> None:
        """End the last phase and leave the terminal as it was; may be called twice."""


class SilentProgress:
    """Shows nothing, warnings excepted, which go to `stream`."""

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
