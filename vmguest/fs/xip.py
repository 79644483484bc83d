"""Execute in place: a file's pages are storage itself, as mm/filemap_xip.c and fs/ext2/xip.c of Linux 3.13 have it.

No page of a file is copied on the way: read and sendfile take bytes from the segment, a mapping shows the segment's own
frames, one run for each run of contiguous blocks. A hole reads as zeros and maps the one zero page.
"""

from collections.abc import Iterator
from errno import EROFS
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.errors import HoleError, KernelError
from dcss.ext2.inode import Inode
from dcss.ext2.volume import Volume
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice, DeviceHandle, DirectAccess
from vmguest.fs.file import FileMappings, StoredFile
from vmguest.machine import VirtualMachine
from vmguest.storage import StorageKind, StorageRun


class XipMemory(NamedTuple):
    """A file page's storage: `kernel_address` as the host sees it, `page_frame` the absolute page number."""

    kernel_address: int
    page_frame: int


class XipFile(StoredFile):
    """An open regular file of a volume mounted with xip; the block size is the page size."""

    __slots__ = ("_handle", "_inode", "_machine", "_volume")

    def __init__(
        self, volume: Volume, inode: Inode, handle: DeviceHandle, machine: VirtualMachine, mappings: FileMappings
    ) -> None:
        super().__init__(machine.storage.base, mappings)
        self._volume = volume
        self._inode = inode
        self._handle = handle
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

    def _runs(self, first_page: int, pages: int, *, for_write: bool) -> Iterator[StorageRun]:
        """Yield the storage of file pages, a run of contiguous blocks at a time: get_xip_mem for many pages."""
        if for_write:
            raise KernelError(EROFS, f"inode {self._inode.number}: is not open for writing")
        for page, block, blocks in self._volume.runs(self._inode, first_page, pages):
            if block:
                frame = self._direct_access(block, blocks).page_frame
                yield StorageRun(page, frame, blocks, self._machine.kind_of(frame))
            else:
                yield StorageRun(page, 0, blocks, StorageKind.HOLE)

    def _direct_access(self, block: int, blocks: int) -> DirectAccess:
        device: BlockDevice = self._handle.device
        return device.direct_access(self._handle, block * SECTORS_PER_PAGE, blocks * PAGE_SIZE)
