"""Open files of ext2 that can be written: in place (mm/filemap_xip.c of Linux 3.13), or through the page cache."""

from collections.abc import Iterator
from errno import EINVAL

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import HoleError, KernelError
from dcss.ext2.inode import Inode
from dcss.ext2.write.writer import VolumeWriter
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice, DeviceHandle
from vmguest.fs.file import FileMappings, copy_into_runs
from vmguest.fs.pagecache import WINDOW_PAGES, CachedFile, PageCache
from vmguest.fs.xip import XipFile, XipMemory
from vmguest.machine import VirtualMachine
from vmguest.storage import RealStorage, StorageRun


class WritableXipFile(XipFile):
    """An open regular file that is written where it lies; there is no copy, and so nothing to write back."""

    __slots__ = ("_writer",)

    def __init__(
        self,
        writer: VolumeWriter,
        inode: Inode,
        handle: DeviceHandle,
        machine: VirtualMachine,
        mappings: FileMappings,
    ) -> None:
        super().__init__(writer.volume, inode, handle, machine, mappings)
        self._writer = writer

    def get_xip_mem(self, page: int, *, create: bool = False) -> XipMemory:
        """Return the storage of one file page; with `create` a hole gets a block, which is zero.

        Raises KernelError(ENODATA) for a hole without `create`, ENOSPC.
        """
        try:
            return super().get_xip_mem(page)
        except HoleError:
            if not create:
                raise
            self._fill(page, 1)
            return super().get_xip_mem(page)

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Copy bytes into storage (xip_file_write); return how many found room. Raises KernelError: ENOSPC, EFBIG."""
        if position < 0:
            raise KernelError(EINVAL, f"write at position {position}: wanted no negative number")
        if not data:
            return 0
        first = position >> PAGE_SHIFT
        filled = self._fill(first, hostmem.pages(position + len(data)) - first)
        done = copy_into_runs(self._window, super()._runs(first, filled, for_write=False), position, data)
        self._writer.files.set_size(self._inode, max(self.size_bytes, position + done))
        return done

    def truncate(self, size_bytes: int) -> None:
        """Cut the file, or let it grow by a hole. Raises KernelError: EINVAL, EFBIG."""
        before = hostmem.pages(self.size_bytes)
        if size_bytes >= 0:
            self._truncate_page(min(size_bytes, self.size_bytes))
        self._writer.files.truncate(self._inode, size_bytes, clear_end=False)
        self.mappings.changed(hostmem.pages(size_bytes), before - hostmem.pages(size_bytes))

    def _truncate_page(self, size_bytes: int) -> None:
        """Zero the rest of the page that a size ends in; a hole is zero (xip_truncate_page)."""
        page, offset = divmod(size_bytes, PAGE_SIZE)
        block = self._volume.get_block(self._inode, page) if offset else 0
        if block:
            hostmem.clear(self._address(block) + offset, PAGE_SIZE - offset)

    def _runs(self, first_page: int, pages: int, *, for_write: bool) -> Iterator[StorageRun]:
        if for_write:
            pages = self._fill(first_page, pages)
        return super()._runs(first_page, pages, for_write=False)

    def _fill(self, first_page: int, pages: int) -> int:
        """Give holes blocks, zeroed in place (clear_xip_target), and have every mapping of these pages show them."""
        new: list[tuple[int, int]] = []

        def clear(_file_block: int, block: int, blocks: int) -> None:
            hostmem.clear(self._address(block), blocks * PAGE_SIZE)
            new.append((block, blocks))

        try:
            return self._writer.files.fill(self._inode, first_page, pages, clear)
        finally:
            if new:
                self.mappings.changed(first_page, pages)

    def _address(self, block: int) -> int:
        device: BlockDevice = self._handle.device
        return device.direct_access(self._handle, block * SECTORS_PER_PAGE, PAGE_SIZE).kernel_address


class WritableCachedFile(CachedFile):
    """An open regular file that is written through the page cache: blocks at once, data at the next `write_back`.

    A page has its copy before it has its block: what a new block held before is never read.
    """

    __slots__ = ("_writer",)

    def __init__(
        self, writer: VolumeWriter, inode: Inode, cache: PageCache, storage: RealStorage, mappings: FileMappings
    ) -> None:
        super().__init__(inode, cache, storage, mappings)
        self._writer = writer

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Copy bytes into frames; return how many found room. Raises KernelError: ENOSPC, EFBIG, ENOMEM, EINVAL."""
        if position < 0:
            raise KernelError(EINVAL, f"write at position {position}: wanted no negative number")
        if not data:
            return 0
        view, done = memoryview(data), 0
        while done < len(view):  # a few pages at a time: what is written may go before the rest comes
            start = position + done
            piece = view[done : done + WINDOW_PAGES * PAGE_SIZE - start % PAGE_SIZE]
            try:
                written = self._write_piece(start, piece)
            except KernelError:
                if not done:
                    raise
                break
            done += written
            if written < len(piece):
                break
        return done

    def _write_piece(self, position: int, data: memoryview) -> int:
        first = position >> PAGE_SHIFT
        pages = hostmem.pages(position + len(data)) - first
        with self._cache.kept(self._inode, first, pages):
            done = copy_into_runs(self._window, self._runs(first, pages, for_write=True), position, data)
        self._writer.files.set_size(self._inode, max(self.size_bytes, position + done))
        return done

    def truncate(self, size_bytes: int) -> None:
        """Cut the file, or let it grow by a hole. Raises KernelError: EINVAL, EFBIG."""
        before = hostmem.pages(self.size_bytes)
        if size_bytes >= 0:
            self._truncate_page(min(size_bytes, self.size_bytes))
        self._writer.files.truncate(self._inode, size_bytes, clear_end=False)
        self._cache.truncate(self._inode, size_bytes)
        self.mappings.changed(hostmem.pages(size_bytes), before - hostmem.pages(size_bytes))

    def _truncate_page(self, size_bytes: int) -> None:
        """Zero the rest of the page that a size ends in, in its copy (block_truncate_page)."""
        page, offset = divmod(size_bytes, PAGE_SIZE)
        if offset and self._writer.volume.get_block(self._inode, page):
            for run in self._cache.runs(self._inode, page, 1):
                hostmem.clear(self._window + (run.page_frame << PAGE_SHIFT) + offset, PAGE_SIZE - offset)
            self._cache.mark_dirty(self._inode, page, 1)

    def _runs(self, first_page: int, pages: int, *, for_write: bool) -> Iterator[StorageRun]:
        runs = self._cache.runs(self._inode, first_page, pages)
        if not for_write:
            return runs
        with self._cache.kept(self._inode, first_page, pages):
            copied = list(runs)
            filled = self._writer.files.fill(self._inode, first_page, pages, _keep)
            self._cache.mark_dirty(self._inode, first_page, filled)
            return iter(copied) if filled == pages else iter(list(self._cache.runs(self._inode, first_page, filled)))


def _keep(_file_block: int, _first: int, _blocks: int) -> None:
    """Leave new blocks as they are: the copies of their pages go over them."""
