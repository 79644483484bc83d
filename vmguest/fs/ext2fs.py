"""Mount ext2 from a block device of the guest: in place with xip, else through the page cache (ext2_fill_super)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from errno import EACCES, EINVAL, EISDIR, EROFS
from typing import NoReturn

from dcss.abi.ext2 import RO_COMPAT_SUPPORTED, ROOT_INO
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from dcss.ext2.inode import Inode as Ext2Inode
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume
from vmguest.block.device import BlockDevice, DeviceHandle
from vmguest.fs.file import FileOperations
from vmguest.fs.filesystem import FileSystem, StatFs, VfsInode
from vmguest.fs.options import MountOptions
from vmguest.fs.pagecache import BufferCache, CachedFile, PageCache
from vmguest.fs.xip import XipFile
from vmguest.machine import VirtualMachine
from vmguest.printk import LogBuffer

IN_PLACE = frozenset({"xip", "dax"})
_WITHOUT_EFFECT = re.compile(  # on what only reads; Documentation/filesystems/ext2.txt of Linux 3.13
    r"bsddf|minixdf|(no)?grpid|bsdgroups|sysvgroups|nocheck|check=none|debug|oldalloc|orlov|nobh|(no)?user_xattr|(no)?acl"
    r"|(no|usr|grp)?quota|(no)?reservation|errors=(continue|panic|remount-ro)|res[ug]id=\d+"
)


class Ext2FileSystem:
    """A mounted ext2 (struct super_block): one open of its device, the volume, and how file data is reached.

    It is mounted read-only, always. Where that was not asked for, the log says so. `in_place` is the option that has
    files read and mapped where they lie: xip, or dax, which is its name since Linux 4.0; None where they are copied.
    """

    type_name = "ext2"
    root = ROOT_INO

    def __init__(self, device: BlockDevice, options: MountOptions, machine: VirtualMachine, log: LogBuffer) -> None:
        self.device = device
        self.source = f"/dev/{device.name}"
        self._log = log
        if device.read_only and not options.read_only:
            raise KernelError(EACCES, f"{device.name}: is read-only, wanted mount option ro")
        self.in_place = self._in_place(options.data)
        self._machine = machine
        self._handle = device.open()
        with ExitStack() as undo:
            undo.callback(device.release, self._handle)
            self._blocks = self._block_source(self._handle)
            undo.callback(self._blocks.close)
            self.volume = Volume.mount(
                self._blocks,
                device=device.name,
                read_only=True,
                xip=self.in_place == "xip",
                dax=self.in_place == "dax",
                silent=options.silent,
                logical_block_size_bytes=device.logical_block_size_bytes,
                log=log.log,
            )
            if options.read_only is False:
                self._refuse_writing()
            undo.pop_all()
        if options.read_only is None:
            self._say("warn", "warning: mounted read-only, this version does not write ext2")
        self._pages = PageCache(self.volume, self._handle, machine.storage)

    @property
    def options(self) -> tuple[str, ...]:
        """The options in force, as /proc/mounts shows them."""
        return ("ro",) if self.in_place is None else ("ro", self.in_place)

    def remount(self, options: MountOptions) -> None:
        """Change options as ext2_remount does: xip and dax stay as they are, whatever is asked for.

        Raises KernelError: EACCES for rw on a read-only device, EINVAL, EROFS for rw.
        """
        if options.read_only is False and self.device.read_only:
            raise KernelError(EACCES, f"{self.device.name}: is read-only, and cannot be mounted rw")
        wanted = self._in_place(options.data) or self.in_place
        if wanted is not None and self.volume.block_size_bytes != PAGE_SIZE:
            self._say("warn", f"warning: unsupported blocksize for {wanted}")
            raise KernelError(EINVAL, f"{self.device.name}: blocks of {self.volume.block_size_bytes} bytes")
        if options.read_only is False:
            features = self.volume.superblock.s_feature_ro_compat & ~int(RO_COMPAT_SUPPORTED)
            if features:
                self._say(
                    "warn", f"warning: couldn't remount RDWR because of unsupported optional features ({features:x})."
                )
                raise KernelError(EROFS, f"{self.device.name}: features {features:#x}")
            self._refuse_writing()
        if wanted != self.in_place:
            self._say("warn", f"warning: refusing change of {wanted} flag with busy inodes while remounting")

    def _refuse_writing(self) -> NoReturn:
        self._say("err", "error: this version does not write ext2, mount it with ro")
        raise KernelError(EROFS, f"{self.device.name}: wanted mount option ro")

    def _in_place(self, data: tuple[str, ...]) -> str | None:
        """Return xip or dax where the options ask for it and the device can do it. Raises KernelError(EINVAL)."""
        for option in data:
            if option not in IN_PLACE and _WITHOUT_EFFECT.fullmatch(option) is None:
                self._say("err", f'error: unrecognized mount option "{option}" or missing value')
                raise KernelError(EINVAL, f"mount option {option}: unknown to ext2")
        if "dax" in data:
            self._say("warn", "DAX enabled. Warning: EXPERIMENTAL, use at your own risk")
            if self.device.dax_supported:
                return "dax"
            self._say("err", "DAX unsupported by block device. Turning off DAX.")
        elif "xip" in data:
            if self.device.direct_accessible:
                return "xip"
            self._say("warn", "warning: ignoring xip option - not supported by bdev")
        return None

    def _say(self, level: str, message: str) -> None:
        self._log.log(level, f"EXT2-fs ({self.device.name}): {message}")

    @property
    def writer(self) -> None:
        """Nothing: it is mounted read-only, always."""
        return

    @property
    def device_number(self) -> tuple[int, int]:
        """The device's."""
        return self.device.number

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

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:
        """Return the number of the inode that `name` has in a directory, or None."""
        return self.volume.lookup(self._own(directory), name)

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:
        """Yield a directory's names and inode numbers, without . and .."""
        for entry in self.volume.entries(self._own(directory)):
            if entry.name not in {b".", b".."}:
                yield entry.name, entry.inode

    def readlink(self, inode: VfsInode) -> bytes:
        """Return a symbolic link's target."""
        return self.volume.readlink(self._own(inode))

    def open(self, inode: VfsInode) -> FileOperations:
        """Open a regular file. Raises KernelError: EISDIR for a directory, EINVAL for anything else."""
        if not inode.is_regular:
            raise KernelError(EISDIR if inode.is_dir else EINVAL, f"inode {inode.number}: not a regular file")
        if self.in_place:
            return XipFile(self.volume, self._own(inode), self._handle, self._machine)
        return CachedFile(self._own(inode), self._pages, self._machine.storage)

    def hold(self, inode: VfsInode) -> None:
        """Nothing is to be kept: names are not removed."""

    def release(self, inode: VfsInode) -> None:
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
        self.device.release(self._handle)

    def _own(self, inode: VfsInode) -> Ext2Inode:
        return inode if isinstance(inode, Ext2Inode) else self.volume.inode(inode.number)

    def _block_source(self, handle: DeviceHandle) -> BufferSource | BufferCache:
        if self.in_place:
            return BufferSource(self.device.direct_access(handle, 0, self.device.size_bytes).view())
        return BufferCache(handle, self._machine.storage)


def mount_ext2(
    machine: VirtualMachine,
    log: LogBuffer,
    device: BlockDevice | None,
    options: MountOptions,
    mounted: Sequence[FileSystem],
) -> FileSystem:
    """Return the file system of a disk: where it is mounted already that one, with the options that it has.

    A disk that cannot be written is mounted ro, unless rw was asked for, as mount(8) does.
    """
    assert device is not None, "the registry asks for a device"
    for system in mounted:
        if system.device is device:
            wanted = next((option for option in options.data if option in IN_PLACE), None)
            in_force = next((option for option in system.options if option in IN_PLACE), None)
            if wanted != in_force:
                has = ",".join(system.options)
                log.log("info", f"EXT2-fs ({device.name}): mounted already, with {has}: its options stay")
            return system
    if device.read_only and options.read_only is None:
        log.log("info", f"mount: /dev/{device.name}: write-protected, mounting read-only")
        options = options._replace(read_only=True)
    return Ext2FileSystem(device, options, machine, log)
