"""Where a command's output goes: text is gathered, a file's bytes pass through without a copy."""

import os
from collections.abc import Callable

from dcss.errors import KernelError

Sink = Callable[[bytes | memoryview], object]

_GATHERED_BYTES = 16 << 10


class OutputError(Exception):
    """What a command wrote could not be kept; the cause is the kernel's refusal."""

    def __init__(self, cause: KernelError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Stream:
    """Standard output or standard error of a command; raises OutputError where its sink raises KernelError."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._pieces: list[bytes] = []
        self._gathered_bytes = 0

    def write(self, data: bytes) -> None:
        """Write text, now or later."""
        self._pieces.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _GATHERED_BYTES:
            self.flush()

    def take(self, piece: memoryview) -> int:
        """Write a file's bytes at once, as an actor of sendfile does: nothing of them stays in this guest's memory."""
        self.flush()
        self.pass_on(piece)
        return len(piece)

    def line(self, text: str) -> None:
        """Write one line of text; file names in it are bytes behind surrogates, and come out as they were."""
        self.write(os.fsencode(text) + b"\n")

    def flush(self) -> None:
        """Pass on what was gathered, before anything else is written to the same place."""
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._gathered_bytes = 0
            self.pass_on(data)

    def pass_on(self, data: bytes | memoryview) -> None:
        """Write bytes at once; what was gathered must have been flushed."""
        try:
            self._sink(data)
        except KernelError as error:
            raise OutputError(error) from error
