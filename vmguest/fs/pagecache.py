"""The way without xip: every page that is read becomes a copy in the guest's own real storage. The baseline.

Pages come in runs, one transfer and one run of frames each; nothing is evicted, so a guest whose storage is too small
for what it reads gets ENOMEM, and its account shows each byte.
"""

from collections.abc import Iterable, Iterator
from errno import EROFS

from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.indirect import BlockRun
from dcss.ext2.inode import Inode
from dcss.ext2.volume import Volume
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, DeviceHandle
from vmguest.frames import FrameMap
from vmguest.fs.file import FileMappings, StoredFile
from vmguest.storage import RealStorage, StorageKind, StorageRun


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
        whole = min(pages * PAGE_SIZE, (self.size_bytes - first * PAGE_SIZE) // PAGE_SIZE * PAGE_SIZE)
        try:
            self._handle.device.read(self._handle, first * SECTORS_PER_PAGE, self._storage.address(frame), whole)
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


def page_runs(pages: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield sorted page numbers as runs: first page, count."""
    first = count = 0
    for page in pages:
        if count and page == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = page, 1
    if count:
        yield first, count


class PageCache:
    """Copies of file data, as frames by inode and page (struct address_space), and which of them were changed."""

    def __init__(self, volume: Volume, handle: DeviceHandle, storage: RealStorage) -> None:
        self._volume = volume
        self._handle = handle
        self._storage = storage
        self._mappings: dict[int, FrameMap] = {}
        self._dirty: dict[int, tuple[Inode, set[int]]] = {}

    @property
    def pages(self) -> int:
        """Pages that hold a copy."""
        return sum(frames.pages for frames in self._mappings.values())

    def runs(self, inode: Inode, first_page: int, pages: int) -> Iterator[StorageRun]:
        """Yield the copies of file pages, reading what is not there yet. Raises KernelError(ENOMEM)."""
        frames = self._frames_of(inode)
        for run in frames.translate(first_page, pages):
            if run.kind is StorageKind.HOLE:
                self._fill(inode, frames, run)
                yield from frames.translate(run.file_page, run.pages)
            else:
                yield run

    def mark_dirty(self, inode: Inode, first_page: int, pages: int) -> None:
        """Have `write_back` write pages, all of which have copies and blocks."""
        self._dirty.setdefault(inode.number, (inode, set()))[1].update(range(first_page, first_page + pages))

    def write_back(self, inode: Inode | None = None) -> None:
        """Write changed pages of one file, or of all. Raises KernelError(EIO); what is not written stays dirty."""
        for number in (inode.number,) if inode is not None else tuple(self._dirty):
            owner, dirty = self._dirty.get(number, (None, set()))
            if owner is not None:
                for first, pages in page_runs(sorted(dirty)):
                    self._write(owner, first, pages)
                    dirty.difference_update(range(first, first + pages))
                del self._dirty[number]

    def truncate(self, inode: Inode, size_bytes: int) -> None:
        """Drop the copies behind a size, and clear the rest of the last page; what was dropped is not written."""
        frames = self._mappings.get(inode.number)
        if frames is not None:
            frames.truncate(size_bytes)
        _, dirty = self._dirty.get(inode.number, (None, set()))
        keep = hostmem.pages(size_bytes)
        dirty.difference_update([page for page in dirty if page >= keep])

    def forget(self, number: int) -> None:
        """Drop all copies of a file that is gone."""
        frames = self._mappings.pop(number, None)
        if frames is not None:
            frames.truncate(0)
        self._dirty.pop(number, None)

    def drop(self) -> None:
        """Give all copies back: what umount does."""
        for frames in self._mappings.values():
            frames.truncate(0)
        self._mappings.clear()
        self._dirty.clear()

    def _frames_of(self, inode: Inode) -> FrameMap:
        frames = self._mappings.get(inode.number)
        if frames is None:
            frames = self._mappings[inode.number] = FrameMap(self._storage)
        return frames

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

    def _write(self, inode: Inode, first_page: int, pages: int) -> None:
        """Copy frames into their blocks."""
        for blocks in self._volume.runs(inode, first_page, pages):
            for run in self._mappings[inode.number].translate(blocks.file_block, blocks.blocks):
                sector = (blocks.disk_block + run.file_page - blocks.file_block) * SECTORS_PER_PAGE
                source = self._storage.address(run.page_frame)
                self._handle.device.write(self._handle, sector, source, run.pages * PAGE_SIZE)


class CachedFile(StoredFile):
    """An open regular file read through the page cache; the block size is the page size."""

    __slots__ = ("_cache", "_inode")

    def __init__(self, inode: Inode, cache: PageCache, storage: RealStorage, mappings: FileMappings) -> None:
        super().__init__(storage.base, mappings)
        self._inode = inode
        self._cache = cache

    @property
    def size_bytes(self) -> int:
        """i_size."""
        return self._inode.size_bytes

    def _runs(self, first_page: int, pages: int, *, for_write: bool) -> Iterator[StorageRun]:
        """Yield the page cache's own frames, so that a mapping copies nothing twice."""
        if for_write:
            raise KernelError(EROFS, f"inode {self._inode.number}: is not open for writing")
        return self._cache.runs(self._inode, first_page, pages)
