"""The way without xip: every page that is read becomes a copy in the guest's own real storage. The baseline.

Pages come in runs, one transfer and one run of frames each. Where real storage runs short, copies go that nobody needs
(vmguest.page_lru); what is changed, mapped or in use just now stays.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from errno import EROFS

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from dcss.ext2.indirect import BlockRun
from dcss.ext2.inode import Inode
from dcss.ext2.volume import Volume
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, DeviceHandle
from vmguest.frames import FrameMap
from vmguest.fs.file import FileMappings, StoredFile
from vmguest.fs.readahead import MAX_WINDOW_PAGES, ReadAhead
from vmguest.machine import VirtualMachine
from vmguest.storage import RealStorage, StorageKind, StorageRun

WINDOW_PAGES = 2 * MAX_WINDOW_PAGES  # of a long read or write, that must be there at once


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

    def __init__(
        self, volume: Volume, handle: DeviceHandle, machine: VirtualMachine, mappings: Mapping[int, FileMappings]
    ) -> None:
        self._volume = volume
        self._handle = handle
        self._storage = machine.storage
        self._lru = machine.page_lru
        self._blocks_per_page = PAGE_SIZE // volume.block_size_bytes
        self._mapped = mappings
        self._mappings: dict[int, FrameMap] = {}
        self._dirty: dict[int, tuple[Inode, set[int]]] = {}
        self._in_use: list[tuple[int, range]] = []  # inode numbers and pages that must not go

    @property
    def pages(self) -> int:
        """Pages that hold a copy."""
        return sum(frames.pages for frames in self._mappings.values())

    @property
    def dirty_pages(self) -> int:
        """Pages that were changed and are not written yet."""
        return sum(len(pages) for _, pages in self._dirty.values())

    def runs(self, inode: Inode, first_page: int, pages: int, last_chunk: int | None = None) -> Iterator[StorageRun]:
        """Yield the copies of file pages, reading what is not there yet; they stay until all have been yielded.

        It is no further use of `last_chunk`. Raises KernelError(ENOMEM).
        """
        in_use = inode.number, range(first_page, first_page + pages)
        self._in_use.append(in_use)  # what `kept` does, at less cost: this is done for every read
        try:
            frames = self._frames_of(inode)
            for run in frames.translate(first_page, pages):
                if run.kind is StorageKind.HOLE:
                    self._fill(inode, frames, run)
                    yield from frames.translate(run.file_page, run.pages)
                else:
                    yield run
        finally:
            self._in_use.remove(in_use)
        self._lru.used(self, inode.number, first_page, pages, last_chunk)

    @contextmanager
    def kept(self, inode: Inode, first_page: int, pages: int) -> Iterator[None]:
        """Evict none of these pages before the block ends."""
        in_use = inode.number, range(first_page, first_page + pages)
        self._in_use.append(in_use)
        try:
            yield
        finally:
            self._in_use.remove(in_use)

    def read_ahead(self, inode: Inode, window: ReadAhead, first_page: int, pages: int) -> None:
        """Read a window of a file where a read of these pages will find one missing; without room, only what is wanted.

        Raises KernelError: ENOMEM, EIO.
        """
        frames = self._frames_of(inode)
        missing = frames.first_hole(first_page, pages)
        if missing is None:
            return
        left = first_page + pages - missing
        wanted = min(window.window(missing, left), hostmem.pages(inode.size_bytes) - missing)
        with suppress(KernelError) if wanted > left else nullcontext():
            for run in frames.translate(missing, wanted):
                if run.kind is StorageKind.HOLE:
                    self._fill(inode, frames, run)

    def cached_pages(self, number: int, first_page: int, pages: int) -> int:
        """Return how many of these pages of a file have a copy."""
        frames = self._mappings.get(number)
        return 0 if frames is None else sum(run.pages for run in frames.runs(first_page, pages))

    def evict(self, number: int, first_page: int, pages: int) -> int:
        """Give back the copies of these pages that are not changed, mapped or in use; return how many."""
        frames = self._mappings.get(number)
        if frames is None:
            return 0
        needed = self._needed(number, first_page, pages)
        runs = [(first_page, pages)]
        if needed:
            runs = list(page_runs(page for page in range(first_page, first_page + pages) if page not in needed))
        before = self.cached_pages(number, first_page, pages)
        for first, count in runs:
            frames.punch(first, count)
        return before - self.cached_pages(number, first_page, pages)

    def write_back_idle(self) -> None:
        """Write changed pages that nobody maps or uses just now. What cannot be written stays dirty."""
        for inode, dirty in tuple(self._dirty.values()):
            if dirty:
                first, end = min(dirty), max(dirty) + 1
                idle = dirty - self._mapped_or_used(inode.number, first, end - first)
                with suppress(KernelError):
                    self._write_pages(inode, dirty, idle)

    def _needed(self, number: int, first_page: int, pages: int) -> set[int]:
        """Return those of some pages that must stay."""
        _, dirty = self._dirty.get(number, (None, set()))
        here = range(first_page, first_page + pages)
        needed = self._mapped_or_used(number, first_page, pages)
        return needed.union(page for page in here if page in dirty) if dirty else needed

    def _mapped_or_used(self, number: int, first_page: int, pages: int) -> set[int]:
        mappings = self._mapped.get(number)
        needed = set() if mappings is None else mappings.overlap(first_page, pages)
        for other, used in self._in_use:
            if other == number:
                needed.update(range(max(first_page, used.start), min(first_page + pages, used.stop)))
        return needed

    def mark_dirty(self, inode: Inode, first_page: int, pages: int) -> None:
        """Have `write_back` write pages, all of which have copies and blocks."""
        self._dirty.setdefault(inode.number, (inode, set()))[1].update(range(first_page, first_page + pages))

    def write_back(self, inode: Inode | None = None) -> None:
        """Write changed pages of one file, or of all. Raises KernelError(EIO); what is not written stays dirty."""
        for number in (inode.number,) if inode is not None else tuple(self._dirty):
            owner, dirty = self._dirty.get(number, (None, set()))
            if owner is not None:
                self._write_pages(owner, dirty, dirty)
                del self._dirty[number]

    def _write_pages(self, inode: Inode, dirty: set[int], wanted: set[int]) -> None:
        for first, pages in page_runs(sorted(wanted)):
            self._write(inode, first, pages)
            dirty.difference_update(range(first, first + pages))

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
            self._lru.forget(self, number)
        self._dirty.pop(number, None)

    def drop(self) -> None:
        """Give all copies back: what umount does."""
        for frames in self._mappings.values():
            frames.truncate(0)
        self._mappings.clear()
        self._dirty.clear()
        self._lru.forget(self)

    def _frames_of(self, inode: Inode) -> FrameMap:
        frames = self._mappings.get(inode.number)
        if frames is None:
            frames = self._mappings[inode.number] = FrameMap(self._storage)
        return frames

    def _fill(self, inode: Inode, frames: FrameMap, hole: StorageRun) -> None:
        """Copy pages that are not there yet. Raises KernelError: ENOMEM, EIO."""
        with self.kept(inode, hole.file_page, hole.pages):  # what has frames by now must keep them until all have
            filled = frames.fill(hole.file_page, hole.pages)
            try:
                if filled < hole.pages:
                    raise self._storage.shortage(hole.pages)
                parts = self._blocks_per_page
                for run in self._volume.runs(inode, hole.file_page * parts, hole.pages * parts):
                    if run.disk_block:  # the frames of a hole are zero already
                        self._read(run, frames) if parts == 1 else self._read_parts(run, frames)
            except OSError:
                frames.punch(hole.file_page, filled)
                raise
        self._lru.added(self, inode.number, hole.file_page, hole.pages)

    def _read(self, blocks: BlockRun, frames: FrameMap) -> None:
        """Copy blocks that are pages into their frames."""
        for run in frames.translate(blocks.file_block, blocks.blocks):
            sector = (blocks.disk_block + run.file_page - blocks.file_block) * SECTORS_PER_PAGE
            target = self._storage.address(run.page_frame)
            self._handle.device.read(self._handle, sector, target, run.pages * PAGE_SIZE)

    def _read_parts(self, blocks: BlockRun, frames: FrameMap) -> None:
        """Copy blocks that are parts of pages into their frames, by way of pages of the device that hold them."""
        size_bytes = self._volume.block_size_bytes
        start, position, left = (
            blocks.disk_block * size_bytes,
            blocks.file_block * size_bytes,
            blocks.blocks * size_bytes,
        )
        first = start // PAGE_SIZE
        pages = hostmem.pages(start + left) - first
        frame = self._storage.allocate(pages)
        try:
            source = self._storage.address(frame)
            self._handle.device.read(self._handle, first * SECTORS_PER_PAGE, source, pages * PAGE_SIZE)
            source += start % PAGE_SIZE
            for run in frames.translate(position // PAGE_SIZE, hostmem.pages(position + left) - position // PAGE_SIZE):
                offset = position - run.file_page * PAGE_SIZE
                count = min(left, run.pages * PAGE_SIZE - offset)
                hostmem.copy(self._storage.address(run.page_frame) + offset, source, count)
                source, position, left = source + count, position + count, left - count
        finally:
            self._storage.release(frame, pages)

    def _write(self, inode: Inode, first_page: int, pages: int) -> None:
        """Copy frames into their blocks."""
        for blocks in self._volume.runs(inode, first_page, pages):
            for run in self._mappings[inode.number].translate(blocks.file_block, blocks.blocks):
                sector = (blocks.disk_block + run.file_page - blocks.file_block) * SECTORS_PER_PAGE
                source = self._storage.address(run.page_frame)
                self._handle.device.write(self._handle, sector, source, run.pages * PAGE_SIZE)


class CachedFile(StoredFile):
    """An open regular file read through the page cache."""

    __slots__ = ("_ahead", "_cache", "_inode")

    def __init__(self, inode: Inode, cache: PageCache, storage: RealStorage, mappings: FileMappings) -> None:
        super().__init__(storage.base, mappings)
        self._inode = inode
        self._cache = cache
        self._ahead = ReadAhead()

    @property
    def size_bytes(self) -> int:
        """i_size."""
        return self._inode.size_bytes

    def _runs(self, first_page: int, pages: int, *, for_write: bool) -> Iterator[StorageRun]:
        """Yield the page cache's own frames, so that a mapping copies nothing twice."""
        if for_write:
            raise KernelError(EROFS, f"inode {self._inode.number}: is not open for writing")
        return self._cache.runs(self._inode, first_page, pages)

    def _runs_to_read(self, first_page: int, pages: int) -> Iterator[StorageRun]:
        """Yield the copies of pages, a few at a time: what was taken may go before the rest of a long read comes."""
        end = first_page + pages
        while first_page < end:
            count = min(end - first_page, WINDOW_PAGES)
            self._cache.read_ahead(self._inode, self._ahead, first_page, count)
            yield from self._cache.runs(self._inode, first_page, count, self._ahead.last_chunk)
            self._ahead.read(first_page, count)
            first_page += count
