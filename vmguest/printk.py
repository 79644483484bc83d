"""The guest kernel's log: a bounded ring, every line also written to the guest's console."""

import os
from collections import deque
from contextlib import suppress
from time import monotonic

RING_LINES = 1000
STAMP = b"[%12.6f"


class KernelPanicError(BaseException):
    """The guest's kernel gives up (panic): no command and no step catches that."""


class LogBuffer:
    """Keeps the last lines and passes each on; messages carry their subsystem's prefix, as pr_fmt gives it."""

    def __init__(self, console: int | None = None) -> None:
        self._ring: deque[tuple[float | None, str, str]] = deque(maxlen=RING_LINES)
        self.console = console
        self.boot_seconds = monotonic()
        self.repeated_seconds = 0.0  # when lines were logged that have no time of their own

    def log(self, level: str, message: str) -> None:
        """Log one line; `level` is printk's name for it: crit, err, warn, notice, info."""
        seconds = monotonic() - self.boot_seconds
        self._ring.append((seconds, level, message))
        self._print(STAMP % seconds + _encoded(message))

    def prepare_repeat(self) -> list[bytes]:
        """Forget when lines were logged, for clones of the guest; return what these write, times between the pieces.

        A clone sets `boot_seconds` and `repeated_seconds`, when it booted and how much later it logged these lines.
        """
        lines = [b"", *(_encoded(message) for _, _, message in self._ring)]
        before = tuple(self._ring)
        self._ring.clear()
        self._ring.extend((None, level, message) for _, level, message in before)
        return lines

    def lines(self) -> list[str]:
        """Return the ring as dmesg prints it."""
        repeated = self.repeated_seconds
        return [f"[{repeated if seconds is None else seconds:12.6f}] {message}" for seconds, _, message in self._ring]

    def messages(self, level: str | None = None) -> list[str]:
        """Return the messages alone, of one level or of all."""
        return [message for _, line_level, message in self._ring if level in {None, line_level}]

    def _print(self, text: bytes) -> None:
        if self.console is not None:
            with suppress(OSError):  # a full disk of the host is no reason for a guest to stop
                os.write(self.console, text)


def _encoded(message: str) -> bytes:
    """Return what stands behind a line's time."""
    return f"] {message}\n".encode(errors="surrogateescape")
