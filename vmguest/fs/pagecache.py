"""The way without xip: every page that is read becomes a copy in the guest's own real storage. The baseline.

Pages come in runs, one transfer and one run of frames each; nothing is evicted, so a guest whose storage is too small
for what it reads gets ENOMEM, and its account shows each byte.
"""

from collections.abc import Iterator
from errno import EROFS

from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.indirect import BlockRun
from dcss.ext2.inode import Inode
from dcss.ext2.volume import Volume
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, DeviceHandle
from vmguest.frames import FrameMap
from vmguest.fs.file import StoredFile
from vmguest.storage import RealStorage, StorageKind, StorageRun


class BufferCache:
    """Copies of a device's metadata in real storage: the block source of a volume mounted without xip."""

    def __init__(self, handle: DeviceHandle, storage: RealStorage) -> None:
        self.size_bytes = handle.device.size_bytes
        self.pages = 0
        self._handle = handle
        self._storage = storage
        self._frames: dict[int, int] = {}  # device page -> page frame
        self._runs: list[tuple[int, int]] = []

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return bytes of the device, from their copies. Raises Ext2FormatError outside the device."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise Ext2FormatError(
                f"{self._handle.device.name}: {length} bytes at offset {offset}, the device has {self.size_bytes} bytes"
            )
        first = offset // PAGE_SIZE
        frame = self._contiguous(first, hostmem.pages(offset + length) - first)
        return hostmem.view(self._storage.address(frame) + offset % PAGE_SIZE, length).toreadonly()

    def close(self) -> None:
        """Give the storage back."""
        for frame, pages in self._runs:
            self._storage.release(frame, pages)
        self._runs.clear()
        self._frames.clear()
        self.pages = 0

    def _contiguous(self, first: int, pages: int) -> int:
        frame = self._frames.get(first)
        if frame is not None and all(self._frames.get(first + i) == frame + i for i in range(1, pages)):
            return frame
        frame = self._storage.allocate(pages)
        whole = min(pages * PAGE_SIZE, (self.size_bytes - first * PAGE_SIZE) // PAGE_SIZE * PAGE_SIZE)
        try:
            self._handle.device.read(self._handle, first * SECTORS_PER_PAGE, self._storage.address(frame), whole)
        except OSError:
            self._storage.release(frame, pages)
            raise
        self._frames.update((first + i, frame + i) for i in range(pages))
        self._runs.append((frame, pages))
        self.pages += pages
        return frame


class PageCache:
    """Copies of file data, as frames by inode and page (struct address_space)."""

    def __init__(self, volume: Volume, handle: DeviceHandle, storage: RealStorage) -> None:
        self._volume = volume
        self._handle = handle
        self._storage = storage
        self._mappings: dict[int, FrameMap] = {}

    @property
    def pages(self) -> int:
        """Pages that hold a copy."""
        return sum(frames.pages for frames in self._mappings.values())

    def runs(self, inode: Inode, first_page: int, pages: int) -> Iterator[StorageRun]:
        """Yield the copies of file pages, reading what is not there yet. Raises KernelError(ENOMEM)."""
        frames = self._mappings.get(inode.number)
        if frames is None:
            frames = self._mappings[inode.number] = FrameMap(self._storage)
        for run in frames.translate(first_page, pages):
            if run.kind is StorageKind.HOLE:
                self._fill(inode, frames, run)
                yield from frames.translate(run.file_page, run.pages)
            else:
                yield run

    def drop(self) -> None:
        """Give all copies back: what umount does."""
        for frames in self._mappings.values():
            frames.truncate(0)
        self._mappings.clear()

    def _fill(self, inode: Inode, frames: FrameMap, hole: StorageRun) -> None:
        """Copy pages that are not there yet."""
        filled = frames.fill(hole.file_page, hole.pages)
        try:
            if filled < hole.pages:
                raise self._storage.shortage(hole.pages)
            for run in self._volume.runs(inode, hole.file_page, hole.pages):
                if run.disk_block:  # the frames of a hole are zero already
                    self._read(run, frames)
        except OSError:
            frames.punch(hole.file_page, filled)
            raise

    def _read(self, blocks: BlockRun, frames: FrameMap) -> None:
        """Copy blocks into their frames. A block is a page: dcssblk takes no other transfers."""
        for run in frames.translate(blocks.file_block, blocks.blocks):
            sector = (blocks.disk_block + run.file_page - blocks.file_block) * SECTORS_PER_PAGE
            target = self._storage.address(run.page_frame)
            self._handle.device.read(self._handle, sector, target, run.pages * PAGE_SIZE)


class CachedFile(StoredFile):
    """An open regular file read through the page cache; the block size is the page size."""

    __slots__ = ("_cache", "_inode")

    def __init__(self, inode: Inode, cache: PageCache, storage: RealStorage) -> None:
        super().__init__(storage.base)
        self._inode = inode
        self._cache = cache

    @property
    def size_bytes(self) -> int:
        """i_size."""
        return self._inode.size_bytes

    def _runs(self, first_page: int, pages: int, *, for_write: bool) -> Iterator[StorageRun]:
        """Yield the page cache's own frames, so that a mapping copies nothing twice."""
        if for_write:
            raise KernelError(EROFS, f"inode {self._inode.number}: this version does not write ext2")
        return self._cache.runs(self._inode, first_page, pages)
