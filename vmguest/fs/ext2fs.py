"""Mount ext2 from a block device of the guest: in place with xip, else through the page cache (ext2_fill_super)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from errno import EACCES, EINVAL, EISDIR, EROFS
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from dcss.abi.ext2 import (
    DEFM_ACL,
    ERRORS_PANIC,
    ERRORS_RO,
    MAGIC,
    RO_COMPAT_SUPPORTED,
    ROOT_INO,
    SUPERBLOCK,
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE_BYTES,
    Superblock,
)
from dcss.abi.mount import EXT2, IN_PLACE
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from dcss.ext2.inode import Inode as Ext2Inode
from dcss.ext2.source import BufferSource
from dcss.ext2.super import ignore_report
from dcss.ext2.tables import SMALL_CACHES
from dcss.ext2.volume import Volume
from vmguest.block.device import BlockDevice
from vmguest.fs.buffers import BufferCache
from vmguest.fs.file import FileMappings, FileOperations, WritableFileOperations
from vmguest.fs.filesystem import FileSystem, StatFs, VfsInode
from vmguest.fs.options import MountOptions
from vmguest.fs.pagecache import CachedFile, PageCache
from vmguest.fs.xip import XipFile
from vmguest.machine import VirtualMachine
from vmguest.printk import KernelPanicError, LogBuffer

if TYPE_CHECKING:
    from dcss.ext2.write.writer import VolumeWriter
    from vmguest.fs.ext2_writer import Ext2Writer

_SHOWN = frozenset({"debug", "errors", "grpid", "minixdf", "resgid", "resuid"})  # by ext2_show_options
_SUPERBLOCK_END = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE_BYTES


class Ext2FileSystem:
    """A mounted ext2 (struct super_block): one open of its device, the volume, and how file data is reached.

    `in_place` is the option that has files read, written and mapped where they lie: xip, or dax, which is its name
    since Linux 4.0; None where they are copied. Metadata that is written goes through buffers either way; what is only
    read in place is read from storage itself.
    """

    type_name = "ext2"
    root = ROOT_INO

    def __init__(self, device: BlockDevice, options: MountOptions, machine: VirtualMachine, log: LogBuffer) -> None:
        self.device = device
        self.source = f"/dev/{device.name}"
        self._log = log
        read_only = bool(options.read_only)
        if device.read_only and not read_only:
            raise KernelError(EACCES, f"{device.name}: is read-only, wanted mount option ro")
        self.in_place = self._in_place(options.data)
        self._data = options.data
        self._machine = machine
        self._writer: Ext2Writer | None = None
        self._file_mappings: WeakValueDictionary[int, FileMappings] = WeakValueDictionary()
        self._handle = device.open()
        with ExitStack() as undo:
            undo.callback(device.release, self._handle)
            self._blocks = self._block_source(in_place=bool(self.in_place) and read_only)
            undo.callback(self._blocks.close)
            read_only = read_only or self._has_small_blocks(wanted_rw=options.read_only is False)
            self.volume = Volume.mount(
                self._blocks,
                device=device.name,
                read_only=read_only,
                xip=self.in_place == "xip",
                dax=self.in_place == "dax",
                silent=options.silent,
                logical_block_size_bytes=device.logical_block_size_bytes,
                log=log.log,
                caches=SMALL_CACHES,
            )
            self._pages = PageCache(self.volume, self._handle, machine, self._file_mappings)
            self.volume.tables.info.report = self._damaged
            if not self.volume.read_only:
                self._writer = self._begin_writing()
            undo.pop_all()

    @property
    def options(self) -> tuple[str, ...]:
        """The options in force, as /proc/mounts shows them."""
        access = "ro" if self._writer is None else "rw"
        shown = [option for option in self._data if option.partition("=")[0] in _SHOWN]
        return (access, *shown) if self.in_place is None else (access, *shown, self.in_place)

    def remount(self, options: MountOptions) -> None:
        """Change options as ext2_remount does: xip and dax stay as they are, whatever is asked for.

        Raises KernelError: EACCES for rw on a read-only device, EINVAL, EROFS for rw with features that forbid it.
        """
        if options.read_only is False and self.device.read_only:
            raise KernelError(EACCES, f"{self.device.name}: is read-only, and cannot be mounted rw")
        wanted = self._in_place(options.data) or self.in_place
        if wanted is not None and self.volume.block_size_bytes != PAGE_SIZE:
            self._say("warn", f"warning: unsupported blocksize for {wanted}")
            raise KernelError(EINVAL, f"{self.device.name}: blocks of {self.volume.block_size_bytes} bytes")
        if wanted != self.in_place:
            self._say("warn", f"warning: refusing change of {wanted} flag with busy inodes while remounting")
        if options.read_only is False and self._writer is None:
            self._remount_read_write()
        elif options.read_only and self._writer is not None:
            self._writer.close()
            self._writer = None
            self.volume.end_writing()
        self._data = options.data or self._data

    def _damaged(self, damage: str) -> None:
        """Do what errors= says about damage that was found (ext2_error). Raises KernelPanicError."""
        writer = self._writer
        if writer is not None:
            writer.volume_writer.mark_damaged()
        self._say("crit", f"error: {damage}")
        behaviour = self._errors()
        if behaviour == "panic":
            raise KernelPanicError("EXT2-fs: panic from previous error")
        if behaviour == "remount-ro" and writer is not None:
            self._say("crit", "error: remounting filesystem read-only")
            self._writer = None

    def _errors(self) -> str:
        """Return what to do about damage: what the last option errors= says, else what the superblock says."""
        given = [option.partition("=")[2] for option in self._data if option.startswith("errors=")]
        stored = {ERRORS_RO: "remount-ro", ERRORS_PANIC: "panic"}.get(self.volume.superblock.s_errors, "continue")
        return given[-1] if given else stored

    def _has_small_blocks(self, *, wanted_rw: bool) -> bool:
        """Return whether blocks are smaller than a page: such a volume is read here, and not written.

        Raises KernelError(EROFS) where writing was asked for.
        """
        if self.device.logical_block_size_bytes == PAGE_SIZE or self.device.size_bytes < _SUPERBLOCK_END:
            return False
        view = self._blocks.bytes_at(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE_BYTES)
        superblock = Superblock._make(SUPERBLOCK.unpack(view))
        if superblock.s_magic != MAGIC or 1024 << min(superblock.s_log_block_size, 2) == PAGE_SIZE:
            return False  # what is no file system, the mount says
        found = f"blocks of {1024 << superblock.s_log_block_size} bytes are read only: {PAGE_SIZE} are written too"
        if wanted_rw:
            self._say("err", f"error: {found}")
            raise KernelError(EROFS, f"{self.device.name}: {found} (make it with mke2fs -b {PAGE_SIZE})")
        self._say("warn", f"warning: mounted read-only, since {found}")
        return True

    def _remount_read_write(self) -> None:
        self._has_small_blocks(wanted_rw=True)
        features = self.volume.superblock.s_feature_ro_compat & ~int(RO_COMPAT_SUPPORTED)
        if features:
            self._say(
                "warn", f"warning: couldn't remount RDWR because of unsupported optional features ({features:x})."
            )
            raise KernelError(EROFS, f"{self.device.name}: features {features:#x}")
        old = self._blocks
        if isinstance(old, BufferSource):
            self._blocks = self._block_source(in_place=False)
            old.close()
        assert isinstance(self._blocks, BufferCache)
        self.volume.begin_writing(self._blocks)
        self._writer = self._begin_writing()

    def _begin_writing(self) -> "Ext2Writer":
        from dcss.ext2.write.writer import VolumeWriter
        from vmguest.fs.ext2_writer import Ext2Writer

        if self.in_place:
            self.device.check_stores(0, self.device.size_bytes)
        return Ext2Writer(
            VolumeWriter(self.volume, self._pages.forget), self._pages, self._own, self._open_writable, self._data
        )

    def _open_writable(self, writer: "VolumeWriter", inode: Ext2Inode) -> WritableFileOperations:
        from vmguest.fs.ext2_files import WritableCachedFile, WritableXipFile

        _check_regular(inode)
        mappings = self._mappings_of(inode)
        if self.in_place:
            return WritableXipFile(writer, inode, self._handle, self._machine, mappings)
        return WritableCachedFile(writer, inode, self._pages, self._machine.storage, mappings)

    def _mappings_of(self, inode: Ext2Inode) -> FileMappings:
        mappings = self._file_mappings.get(inode.number)
        if mappings is None:
            mappings = self._file_mappings[inode.number] = FileMappings()
        return mappings

    def _in_place(self, data: tuple[str, ...]) -> str | None:
        """Return xip or dax where the options ask for it and the device can do it. Raises KernelError(EINVAL)."""
        for option in data:
            if option not in IN_PLACE and EXT2.fullmatch(option) is None:
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
    def has_acl(self) -> bool:
        """Whether access control lists count: what the last option acl or noacl says, else what the superblock says."""
        given = [option for option in self._data if option in {"acl", "noacl"}]
        return given[-1] == "acl" if given else bool(self.volume.superblock.s_default_mount_opts & DEFM_ACL)

    @property
    def writer(self) -> "Ext2Writer | None":
        """What changes it, or None where it is mounted read-only."""
        return self._writer

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
        own = self._own(inode)
        _check_regular(own)
        self.hold(own)
        mappings = self._mappings_of(own)
        if self.in_place:
            return XipFile(self.volume, own, self._handle, self._machine, mappings)
        return CachedFile(own, self._pages, self._machine.storage, mappings)

    def hold(self, inode: VfsInode) -> None:
        """Keep an inode, also when it loses its last name, until `release`."""
        self.volume.hold(self._own(inode))

    def release(self, inode: VfsInode) -> None:
        """End one open or hold; the last one of what has no name frees it."""
        own = self._own(inode)
        if self._writer is None:
            self.volume.release(own)
        else:
            self._writer.volume_writer.release(own)

    def is_held(self, inode: VfsInode) -> bool:
        """Return whether somebody has an inode open, or holds it."""
        return self.volume.tables.is_held(inode.number)

    def xattrs(self, inode: VfsInode) -> dict[bytes, bytes]:
        """Return the extended attributes of an inode."""
        return self.volume.xattrs(self._own(inode))

    def statfs(self) -> StatFs:
        """Return what the superblock says; blocks of metadata do not count, unless it is mounted with minixdf."""
        block = self.volume.superblock
        free, reserved = block.s_free_blocks_count, block.s_r_blocks_count
        overhead = 0 if "minixdf" in self._data else self.volume.overhead_blocks()
        return StatFs(
            self.volume.block_size_bytes,
            block.s_blocks_count - overhead,
            free,
            max(0, free - reserved),
            block.s_inodes_count,
            block.s_free_inodes_count,
        )

    def unmount(self) -> None:
        """Write what was changed, drop every copy and release the device; views into it are stale from now on."""
        if self._writer is not None:
            self._writer.close()
        self.volume.tables.info.report = ignore_report
        self._pages.drop()
        self._blocks.close()
        self.device.release(self._handle)

    def _own(self, inode: VfsInode) -> Ext2Inode:
        return inode if isinstance(inode, Ext2Inode) else self.volume.inode(inode.number)

    def _block_source(self, *, in_place: bool) -> BufferSource | BufferCache:
        if in_place:
            return BufferSource(self.device.direct_access(self._handle, 0, self.device.size_bytes).view())
        return BufferCache(self._handle, self._machine.storage)


def _check_regular(inode: Ext2Inode) -> None:
    if not inode.is_regular:
        raise KernelError(EISDIR if inode.is_dir else EINVAL, f"inode {inode.number}: not a regular file")


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
