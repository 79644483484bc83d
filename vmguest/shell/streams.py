"""Where a command's output goes: small pieces are gathered, large ones pass through without a copy."""

from collections.abc import Callable

Sink = Callable[[bytes | memoryview], None]

_GATHERED_BYTES = 16 << 10
_LARGE_BYTES = 4 << 10


class Stream:
    """Standard output or standard error of a command; `flush` before anything else is written to the same place."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._pieces: list[bytes] = []
        self._gathered_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes; a view is passed on or copied before this returns."""
        if len(data) >= _LARGE_BYTES:
            self.flush()
            self._sink(data)
            return
        self._pieces.append(bytes(data))
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _GATHERED_BYTES:
            self.flush()

    def line(self, text: str) -> None:
        """Write one line of text; file names in it are bytes behind surrogates, and come out as they were."""
        self.write(text.encode(errors="surrogateescape") + b"\n")

    def flush(self) -> None:
        """Pass on what was gathered."""
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._gathered_bytes = 0
            self._sink(data)
