"""The guest kernel's log: a bounded ring, every line also written to the guest's console."""

import os
from collections import deque
from contextlib import suppress
from time import monotonic

RING_LINES = 1000


class KernelPanicError(BaseException):
    """The guest's kernel gives up (panic): no command and no step catches that."""


class LogBuffer:
    """Keeps the last lines and passes each on; messages carry their subsystem's prefix, as pr_fmt gives it."""

    def __init__(self, console: int | None = None) -> None:
        self._ring: deque[tuple[float, str, str]] = deque(maxlen=RING_LINES)
        self._console = console
        self._boot_seconds = monotonic()

    def log(self, level: str, message: str) -> None:
        """Log one line; `level` is printk's name for it: crit, err, warn, notice, info."""
        seconds = monotonic() - self._boot_seconds
        self._ring.append((seconds, level, message))
        if self._console is not None:
            with suppress(OSError):  # a full disk of the host is no reason for a guest to stop
                os.write(self._console, f"[{seconds:12.6f}] {message}\n".encode(errors="surrogateescape"))

    def lines(self) -> list[str]:
        """Return the ring as dmesg prints it."""
        return [f"[{seconds:12.6f}] {message}" for seconds, _, message in self._ring]

    def messages(self, level: str | None = None) -> list[str]:
        """Return the messages alone, of one level or of all."""
        return [message for _, line_level, message in self._ring if level in {None, line_level}]
