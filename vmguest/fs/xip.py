"""Execute in place: file operations on storage itself, as mm/filemap_xip.c and fs/ext2/xip.c of Linux 3.13 have them.

No page of a file is copied on the way: read and sendfile take bytes from the segment, mmap puts the segment's own
frames at user addresses, one call for each run of contiguous blocks. A hole reads as zeros and maps the one zero page.
"""

from collections.abc import Iterator
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.errors import HoleError
from dcss.ext2.inode import Inode
from dcss.ext2.volume import Volume
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice, DirectAccess, Opened
from vmguest.fs.file import Actor, check_pages, clip, copy_pieces, send_pieces
from vmguest.fs.mapping import UserMapping, UserRun
from vmguest.machine import Machine

ZERO_PAGE = memoryview(bytes(PAGE_SIZE))


class XipMemory(NamedTuple):
    """A file page's storage: `kernel_address` as the host sees it, `page_frame` the absolute page number."""

    kernel_address: int
    page_frame: int


class XipRun(NamedTuple):
    """Contiguous pages of a file; `access` is None for a hole."""

    file_page: int
    pages: int
    access: DirectAccess | None


class XipFile:
    """An open regular file of a volume mounted with xip; the block size is the page size."""

    def __init__(self, volume: Volume, inode: Inode, opened: Opened, machine: Machine) -> None:
        self._volume = volume
        self._inode = inode
        self._opened = opened
        self._machine = machine

    @property
    def size_bytes(self) -> int:
        """i_size."""
        return self._inode.size_bytes

    def get_xip_mem(self, page: int) -> XipMemory:
        """Return the storage of one file page. Raises HoleError (ENODATA) where no block is allocated."""
        block = self._volume.get_block(self._inode, page)
        if block == 0:
            raise HoleError
        access = self._direct_access(block, 1)
        return XipMemory(access.kernel_address, access.page_frame)

    def get_xip_runs(self, first_page: int, pages: int) -> Iterator[XipRun]:
        """Yield the storage of file pages, a run of contiguous blocks at a time: get_xip_mem for many pages."""
        for run in self._volume.runs(self._inode, first_page, pages):
            access = self._direct_access(run.disk_block, run.blocks) if run.disk_block else None
            yield XipRun(run.file_block, run.blocks, access)

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy bytes into `buffer` (xip_file_read)."""
        return copy_pieces(self._pieces(position, len(buffer)), buffer)

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Hand bytes to `actor` straight from storage (xip_file_sendfile, Linux 2.6.13 to 2.6.22)."""
        return send_pieces(self._pieces(position, count), actor)

    def mmap(self, first_page: int, pages: int) -> UserMapping:
        """Map pages read-only at user level (xip_file_mmap), every page present."""
        pages = check_pages(self, first_page, pages)
        machine = self._machine
        base = machine.user_range(pages)
        runs = []
        try:
            for run in self.get_xip_runs(first_page, pages):
                address = base + (run.file_page - first_page) * PAGE_SIZE
                if run.access is None:
                    hostmem.map_zeros(address, run.pages * PAGE_SIZE)
                else:
                    address = machine.map_user(address, run.access.page_frame, run.pages)
                runs.append(UserRun(run.file_page, address, run.pages, run.access is None))
        except OSError:
            machine.unmap_user(base, pages)
            raise
        return UserMapping(tuple(runs), self.size_bytes, lambda: machine.unmap_user(base, pages))

    def _direct_access(self, block: int, blocks: int) -> DirectAccess:
        device: BlockDevice = self._opened.device
        return device.direct_access(self._opened, block * SECTORS_PER_PAGE, blocks * PAGE_SIZE)

    def _pieces(self, position: int, count: int) -> Iterator[memoryview]:
        end = clip(self, position, count)
        first = position // PAGE_SIZE
        for run in self.get_xip_runs(first, hostmem.pages(end) - first):
            low = max(position, run.file_page * PAGE_SIZE)
            high = min(end, (run.file_page + run.pages) * PAGE_SIZE)
            if run.access is not None:
                start = run.file_page * PAGE_SIZE
                yield run.access.view()[low - start : high - start]
                continue
            while low < high:  # zeros come from one page however long the hole is
                size_bytes = min(PAGE_SIZE, high - low)
                yield ZERO_PAGE[:size_bytes]
                low += size_bytes
