"""CP's log: what happened to a system, one line each, in its runtime directory and, in the foreground, on a stream."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dcss.host.text import ESCAPE_SURROGATES, utc_now

LOG_NAME = "cp.log"
Echo = Callable[[str], None]


class SystemLog:
    """The log of one CP. `descriptor` is open for writing; `echo`, where given, gets each line without its time."""

    def __init__(self, directory: Path, echo: Echo | None = None) -> None:
        self.path = directory / LOG_NAME
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._echo = echo

    def note(self, text: str) -> None:
        """Write one line. A full disk loses it: that must not end CP."""
        line = " ".join(text.splitlines())
        with suppress(OSError):
            os.write(self.descriptor, f"{utc_now()} {line}\n".encode(errors=ESCAPE_SURROGATES))
        if self._echo is not None:
            self._echo(line)

    def close(self) -> None:
        """Close it. May be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
