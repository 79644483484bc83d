"""Mount ext2 from a block device of the guest: in place with xip, else through the page cache (ext2_fill_super)."""

from collections.abc import Iterator
from errno import EINVAL, EISDIR

from dcss.abi.ext2 import ROOT_INO
from dcss.abi.extmem import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.block.dcssblk import DCSSBLK_MAJOR
from vmguest.block.device import BlockDevice, Opened
from vmguest.fs.ext2.inode import Inode as Ext2Inode
from vmguest.fs.ext2.source import BufferSource
from vmguest.fs.ext2.volume import Volume
from vmguest.fs.file import RegularFile
from vmguest.fs.filesystem import Inode, StatFs
from vmguest.fs.pagecache import BufferCache, CachedFile, PageCache
from vmguest.fs.xip import XipFile
from vmguest.machine import Machine
from vmguest.printk import KernelLog

KNOWN_OPTIONS = frozenset({"ro", "xip"})


class Ext2FileSystem:
    """A mounted ext2 (struct super_block): one open of its device, the volume, and how file data is reached."""

    type_name = "ext2"
    root = ROOT_INO

    def __init__(self, device: BlockDevice, options: tuple[str, ...], machine: Machine, log: KernelLog) -> None:
        unknown = sorted(set(options) - KNOWN_OPTIONS)
        if unknown:
            log.log("err", f'EXT2-fs ({device.name}): error: unrecognized mount option "{unknown[0]}" or missing value')
            raise KernelError(EINVAL, f"mount option {unknown[0]}: unknown, wanted some of {sorted(KNOWN_OPTIONS)}")
        self.device = device
        self.source = f"/dev/{device.name}"
        self.xip = "xip" in options
        if self.xip and not device.direct_accessible:
            log.log("warn", f"EXT2-fs ({device.name}): warning: ignoring xip option - not supported by bdev")
            self.xip = False
        self._machine = machine
        self._opened = device.open()
        try:
            self._blocks = self._block_source(self._opened)
            self.volume = Volume.mount(
                self._blocks,
                device=device.name,
                read_only=True,
                xip=self.xip,
                logical_block_size_bytes=device.logical_block_size_bytes,
                log=log.log,
            )
        except BaseException:
            device.release(self._opened)
            raise
        self._pages = PageCache(self.volume, self._opened, machine.storage)

    @property
    def options(self) -> tuple[str, ...]:
        """The options in force, as /proc/mounts shows them."""
        return ("ro", "xip") if self.xip else ("ro",)

    @property
    def writer(self) -> None:
        """Nothing: it is mounted read-only, always."""
        return

    @property
    def device_number(self) -> tuple[int, int]:
        """The device's."""
        return DCSSBLK_MAJOR, int(self.device.name.removeprefix("dcssblk"))

    @property
    def page_cache_bytes(self) -> int:
        """Copies of regular files' data."""
        return self._pages.pages * PAGE_SIZE

    @property
    def buffer_bytes(self) -> int:
        """Copies of metadata; none with xip, where metadata is decoded from storage itself."""
        return self._blocks.pages * PAGE_SIZE if isinstance(self._blocks, BufferCache) else 0

    def inode(self, number: int) -> Ext2Inode:
        """Return an inode."""
        return self.volume.inode(number)

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the number of the inode that `name` has in a directory, or None."""
        return self.volume.lookup(self._own(directory), name)

    def names(self, directory: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield a directory's names and inode numbers, without . and .."""
        for entry in self.volume.entries(self._own(directory)):
            if entry.name not in {b".", b".."}:
                yield entry.name, entry.inode

    def readlink(self, inode: Inode) -> bytes:
        """Return a symbolic link's target."""
        return self.volume.readlink(self._own(inode))

    def open(self, inode: Inode) -> RegularFile:
        """Open a regular file. Raises KernelError: EISDIR for a directory, EINVAL for anything else."""
        if not inode.is_regular:
            raise KernelError(EISDIR if inode.is_dir else EINVAL, f"inode {inode.number}: not a regular file")
        if self.xip:
            return XipFile(self.volume, self._own(inode), self._opened, self._machine)
        return CachedFile(self._own(inode), self._pages, self._machine.storage)

    def release(self, inode: Inode) -> None:
        """Nothing is held for one open file."""

    def statfs(self) -> StatFs:
        """Return what the superblock says; blocks of metadata count as used, as with mount option minixdf."""
        block = self.volume.superblock
        free, reserved = block.s_free_blocks_count, block.s_r_blocks_count
        return StatFs(
            self.volume.block_size_bytes,
            block.s_blocks_count,
            free,
            max(0, free - reserved),
            block.s_inodes_count,
            block.s_free_inodes_count,
        )

    def unmount(self) -> None:
        """Drop every copy and release the device; views into it are stale from now on."""
        self._pages.drop()
        self._blocks.close()
        self.device.release(self._opened)

    def _own(self, inode: Inode) -> Ext2Inode:
        return inode if isinstance(inode, Ext2Inode) else self.volume.inode(inode.number)

    def _block_source(self, opened: Opened) -> BufferSource | BufferCache:
        if self.xip:
            return BufferSource(self.device.direct_access(opened, 0, self.device.size_bytes).view())
        return BufferCache(opened, self._machine.storage)
