"""Block sources: a device as bytes that are read in place, without copies."""

from errno import ENODEV, EROFS
from mmap import mmap
from typing import Protocol, runtime_checkable

from dcss.errors import Ext2FormatError, KernelError, StaleReferenceError


class BlockSource(Protocol):
    """A device seen as bytes. `bytes_at` is the only way in, so every read of a damaged image is range-checked once."""

    @property
    def size_bytes(self) -> int:
        """Size of the device in bytes."""
        ...

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return a read-only view of `length` bytes at byte `offset`; outside the device: Ext2FormatError."""
        ...


@runtime_checkable
class WritableSource(BlockSource, Protocol):
    """A device that can be written. A source that caches blocks tracks its dirty ones itself."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write `data` at byte `offset`; later reads see it. KernelError(EROFS) where the device is read-only."""
        ...

    def flush(self) -> None:
        """Write all dirty blocks to the device; sources that write in place have none."""
        ...

    def discard(self, offset: int, length: int) -> None:
        """Forget what was changed in blocks that are free now: what is written there next may go by another way."""
        ...


class BufferSource:
    """A WritableSource over a buffer, such as an mmap of any size; nothing is copied.

    With `writable`, `write` stores into the buffer; without, it refuses. After `close` reads and writes raise
    StaleReferenceError(ENODEV); views returned before stay valid and keep the buffer alive, as mapped pages do.
    """

    __slots__ = ("_buffer", "_end", "_target", "_view", "size_bytes")

    def __init__(self, buffer: bytes | bytearray | memoryview | mmap, *, writable: bool = False) -> None:
        """Raises KernelError(EROFS) for `writable` over a read-only buffer."""
        target = memoryview(buffer).cast("B")
        if writable and target.readonly:
            raise KernelError(EROFS, "the buffer of this device is read-only, wanted one that can be written")
        self._view = target.toreadonly()
        self._target = target if writable else None
        self._buffer = buffer if writable and isinstance(buffer, mmap) else None
        self.size_bytes = self._end = len(self._view)

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return a read-only view of `length` bytes at byte `offset`.

        Raises Ext2FormatError where the range is not wholly inside, StaleReferenceError after `close`.
        """
        end = offset + length
        if 0 <= offset <= end <= self._end:
            return self._view[offset:end]
        raise self._outside("read", offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store `data` at byte `offset`. Raises KernelError(EROFS) unless writable, else as `bytes_at`."""
        end = offset + len(data)
        if not 0 <= offset <= end <= self._end:
            raise self._outside("write", offset, len(data))
        if self._target is None:
            raise KernelError(EROFS, "this device is read-only")
        self._target[offset:end] = data

    def flush(self) -> None:
        """Write a mapped file back (msync). For other buffers nothing is to be done."""
        if self._buffer is not None:
            self._buffer.flush()

    def discard(self, offset: int, length: int) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Release the buffer. A second call does nothing."""
        self._end = -1
        self._view.release()
        if self._target is not None:
            self._target.release()
        self._target = self._buffer = None

    def _outside(self, action: str, offset: int, length: int) -> Ext2FormatError | StaleReferenceError:
        if self._end < 0:
            return StaleReferenceError(ENODEV, "the device under this file system is gone: mount it again")
        return Ext2FormatError(
            f"{action} outside the device: found offset {offset}, length {length}, wanted a range inside its "
            f"{self._end} bytes; the image is damaged or cut short"
        )
