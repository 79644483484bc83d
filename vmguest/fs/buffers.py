"""Copies of metadata blocks in real storage, where metadata is not read in place (fs/buffer.c)."""

from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, DeviceHandle
from vmguest.storage import RealStorage


class BufferCache:
    """Copies of a device's metadata in real storage, a page each, written back by `flush`.

    It is the block source of a volume whose metadata goes through buffers: one that is mounted without xip, or that is
    written.
    """

    def __init__(self, handle: DeviceHandle, storage: RealStorage) -> None:
        self.size_bytes = handle.device.size_bytes
        self._handle = handle
        self._storage = storage
        self._frames: dict[int, int] = {}  # device page -> page frame
        self._dirty: set[int] = set()

    @property
    def pages(self) -> int:
        """Pages that hold a copy."""
        return len(self._frames)

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return bytes of the device, from their copies. Raises Ext2FormatError outside the device."""
        self._check(offset, length)
        first = offset // PAGE_SIZE
        frame = self._contiguous(first, hostmem.pages(offset + length) - first)
        return hostmem.view(self._storage.address(frame) + offset % PAGE_SIZE, length).toreadonly()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Change the copies of a part of the device; `flush` writes them. Raises KernelError(ENOMEM)."""
        self._check(offset, len(data))
        view = memoryview(data)
        while view:
            page, start = divmod(offset, PAGE_SIZE)
            piece = view[: PAGE_SIZE - start]
            frame = self._contiguous(page, 1)
            hostmem.view(self._storage.address(frame) + start, len(piece))[:] = piece
            self._dirty.add(page)
            offset += len(piece)
            view = view[len(piece) :]

    def flush(self) -> None:
        """Write what was changed to the device, in order of place. Raises KernelError(EIO); the rest stays dirty."""
        for page in sorted(self._dirty):
            address = self._storage.address(self._frames[page])
            self._handle.device.write(self._handle, page * SECTORS_PER_PAGE, address, PAGE_SIZE)
            self._dirty.discard(page)
        self._handle.device.flush()

    def discard(self, offset: int, length: int) -> None:
        """Drop the copies of pages that are free now, changed or not (bforget).

        A file may get them next, whose data does not go through here: a copy that is written later would go over it.
        """
        for page in range(offset // PAGE_SIZE, hostmem.pages(offset + length)):
            frame = self._frames.pop(page, None)
            if frame is not None:
                self._storage.release(frame, 1)
                self._dirty.discard(page)

    def forget_clean(self) -> None:
        """Drop the copies that were not changed; the device is read again where they are needed."""
        for page in [page for page in self._frames if page not in self._dirty]:
            self._storage.release(self._frames.pop(page), 1)

    def close(self) -> None:
        """Give the storage back; what was not flushed is lost."""
        for frame in self._frames.values():
            self._storage.release(frame, 1)
        self._frames.clear()
        self._dirty.clear()

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise Ext2FormatError(
                f"{self._handle.device.name}: {length} bytes at offset {offset}, the device has {self.size_bytes} bytes"
            )

    def _contiguous(self, first: int, pages: int) -> int:
        """Return the first frame of pages that have copies in one run; those that have none are read."""
        frames = self._frames
        frame = frames.get(first)
        if frame is not None and all(frames.get(first + i) == frame + i for i in range(1, pages)):
            return frame
        frame = self._storage.allocate(pages)
        try:
            address = self._storage.address(frame)
            self._handle.device.read(self._handle, first * SECTORS_PER_PAGE, address, pages * PAGE_SIZE)
        except OSError:
            self._storage.release(frame, pages)
            raise
        for i in range(pages):
            copied = frames.get(first + i)
            if copied is not None:  # it may have been changed
                hostmem.copy(self._storage.address(frame + i), self._storage.address(copied), PAGE_SIZE)
                self._storage.release(copied, 1)
            frames[first + i] = frame + i
        return frame
