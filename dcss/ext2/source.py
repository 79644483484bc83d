"""Where a volume's bytes come from: one buffer, one place that slices it, no copies."""

from errno import ENODEV
from mmap import mmap
from typing import Protocol

from dcss.errors import Ext2FormatError, StaleReferenceError


class BlockSource(Protocol):
    """A device seen as bytes. `bytes_at` is the only way in, so every read of a damaged image is range-checked once."""

    @property
    def size_bytes(self) -> int:
        """Size of the device in bytes."""
        ...

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return a read-only view of `length` bytes at byte `offset`; outside the device: Ext2FormatError."""
        ...


class BufferSource:
    """A BlockSource over a buffer; terabytes of sparse file are fine, nothing is copied.

    `close` gives the buffer back: later reads raise StaleReferenceError(ENODEV). Views that were handed out before
    stay valid and keep the buffer alive, as pages that are mapped do.
    """

    __slots__ = ("_end", "_view", "size_bytes")

    def __init__(self, buffer: bytes | bytearray | memoryview | mmap) -> None:
        self._view = memoryview(buffer).cast("B").toreadonly()
        self.size_bytes = self._end = len(self._view)

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return a read-only view of `length` bytes at byte `offset`.

        Raises Ext2FormatError where the range is not wholly inside, StaleReferenceError after `close`.
        """
        end = offset + length
        if 0 <= offset <= end <= self._end:
            return self._view[offset:end]
        if self._end < 0:
            raise StaleReferenceError(ENODEV, "the device under this file system is gone: mount it again")
        raise Ext2FormatError(
            f"read outside the device: found offset {offset}, length {length}, wanted a range inside its "
            f"{self._end} bytes; the image is damaged or cut short"
        )

    def close(self) -> None:
        """Let go of the buffer. A second call does nothing."""
        self._end = -1
        self._view.release()
