"""The way without xip: every page that is read becomes a copy in the guest's own real storage. The baseline.

Pages come in runs, one transfer and one run of frames each; nothing is evicted, so a guest whose storage is too small
for what it reads gets ENOMEM, and its account shows each byte.
"""

from collections.abc import Iterator

from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError
from dcss.ext2.inode import Inode
from dcss.ext2.volume import Volume
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, Opened
from vmguest.fs.file import Actor, check_pages, clip, copy_pieces, send_pieces
from vmguest.fs.mapping import UserMapping, UserRun
from vmguest.machine import RealStorage


class BufferCache:
    """Copies of a device's metadata in real storage: the block source of a volume mounted without xip."""

    def __init__(self, opened: Opened, storage: RealStorage) -> None:
        self.size_bytes = opened.device.size_bytes
        self.pages = 0
        self._opened = opened
        self._storage = storage
        self._frames: dict[int, int] = {}  # device page -> page frame
        self._runs: list[tuple[int, int]] = []

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return bytes of the device, from their copies. Raises Ext2FormatError outside the device."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise Ext2FormatError(
                f"{self._opened.device.name}: {length} bytes at offset {offset}, the device has {self.size_bytes} bytes"
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
            self._opened.device.read(self._opened, first * SECTORS_PER_PAGE, self._storage.address(frame), whole)
        except OSError:
            self._storage.release(frame, pages)
            raise
        self._frames.update((first + i, frame + i) for i in range(pages))
        self._runs.append((frame, pages))
        self.pages += pages
        return frame


class PageCache:
    """Copies of file data by inode, as runs of (file page, page frame, pages) in file order."""

    def __init__(self, volume: Volume, opened: Opened, storage: RealStorage) -> None:
        self.pages = 0
        self._volume = volume
        self._opened = opened
        self._storage = storage
        self._mappings: dict[int, list[tuple[int, int, int]]] = {}

    def runs(self, inode: Inode, first_page: int, pages: int) -> Iterator[tuple[int, int, int]]:
        """Yield the copies of file pages, reading what is not there yet, a run at a time."""
        end = first_page + pages
        page = first_page
        while page < end:
            start, frame, length = self._run_at(inode, page, end)
            skip = page - start
            take = min(length - skip, end - page)
            yield page, frame + skip, take
            page += take

    def drop(self) -> None:
        """Give all copies back: what umount does."""
        for runs in self._mappings.values():
            for _, frame, pages in runs:
                self._storage.release(frame, pages)
        self._mappings.clear()
        self.pages = 0

    def _run_at(self, inode: Inode, page: int, end: int) -> tuple[int, int, int]:
        runs = self._mappings.setdefault(inode.number, [])
        for index, (start, frame, length) in enumerate(runs):
            if start <= page < start + length:
                return start, frame, length
            if start > page:
                return self._fill(inode, runs, index, page, min(end, start))
        return self._fill(inode, runs, len(runs), page, end)

    def _fill(
        self, inode: Inode, runs: list[tuple[int, int, int]], index: int, page: int, end: int
    ) -> tuple[int, int, int]:
        frame = self._storage.allocate(end - page)
        try:
            self._read(inode, page, end - page, frame)
        except OSError:
            self._storage.release(frame, end - page)
            raise
        runs.insert(index, (page, frame, end - page))
        self.pages += end - page
        return runs[index]

    def _read(self, inode: Inode, first_page: int, pages: int, frame: int) -> None:
        for run in self._volume.runs(inode, first_page, pages):  # a block is a page: dcssblk takes no other transfers
            if run.disk_block:  # the frames of a hole are zero already
                target = self._storage.address(frame + run.file_block - first_page)
                sector = run.disk_block * SECTORS_PER_PAGE
                self._opened.device.read(self._opened, sector, target, run.blocks * PAGE_SIZE)


class CachedFile:
    """An open regular file read through the page cache; the block size is the page size."""

    def __init__(self, inode: Inode, cache: PageCache, storage: RealStorage) -> None:
        self._inode = inode
        self._cache = cache
        self._storage = storage

    @property
    def size_bytes(self) -> int:
        """i_size."""
        return self._inode.size_bytes

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy bytes into `buffer`, out of copies in real storage."""
        return copy_pieces(self._pieces(position, len(buffer)), buffer)

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Hand the page cache's copies to `actor`."""
        return send_pieces(self._pieces(position, count), actor)

    def mmap(self, first_page: int, pages: int) -> UserMapping:
        """Map pages read-only: user level sees the page cache's own frames, so nothing is copied twice."""
        pages = check_pages(self, first_page, pages)
        runs = tuple(
            UserRun(page, self._storage.address(frame), length)
            for page, frame, length in self._cache.runs(self._inode, first_page, pages)
        )
        return UserMapping(runs, self.size_bytes, lambda: None)

    def _pieces(self, position: int, count: int) -> Iterator[memoryview]:
        end = clip(self, position, count)
        first = position // PAGE_SIZE
        for page, frame, pages in self._cache.runs(self._inode, first, hostmem.pages(end) - first):
            low = max(position, page * PAGE_SIZE)
            high = min(end, (page + pages) * PAGE_SIZE)
            yield hostmem.view(self._storage.address(frame) + low - page * PAGE_SIZE, high - low).toreadonly()
