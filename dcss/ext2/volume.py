"""A mounted ext2 volume: reads any image that the kernel's ext2 mounts, in place, without copying a block.

All caches start empty and are bounded. Call `invalidate` after changing the device behind the volume's back:

| cache | bound |
| --- | --- |
| inodes (`inode_table.InodeTable`) | `tables.CacheSizes`, dirty ones, and those referenced elsewhere |
| group descriptors | 64 |
| names looked up, found or not | `tables.CacheSizes` |
| indexes of directories (`dir.NameIndexes`) | 4 MiB, 8 bytes a name |

Block maps are not cached: finding a block takes two microseconds, and
guest memory is what this project saves.

`sync` writes changed inodes, then group descriptors, then the superblock: a count on the device never includes what
is not there yet. Blocks of data, directories, bitmaps and pointers are written through the source, at once.
"""

from collections.abc import Iterator

from dcss.abi.ext2 import ROOT_INO, GroupDesc, Superblock
from dcss.ext2 import dir as directories
from dcss.ext2 import indirect, namei, xattr
from dcss.ext2.dir_block import DirEntry
from dcss.ext2.groups import check_descriptors, overhead_blocks
from dcss.ext2.indirect import BlockRun
from dcss.ext2.inode import Inode, read_slot
from dcss.ext2.source import BlockSource, WritableSource
from dcss.ext2.super import Ext2Log, LogFunction, SbInfo, fill_super, ignore_log, setup_super, write_super
from dcss.ext2.tables import CACHES, CacheSizes, VolumeTables


class Volume:
    """One file system on one device. `mount` makes it.

    Methods raise Ext2FormatError for damage (block, field, found, wanted) and KernelError with the errno of the system
    call that would fail; whatever the source raises passes through.
    """

    def __init__(self, info: SbInfo, log: Ext2Log, caches: CacheSizes = CACHES) -> None:
        self.tables = VolumeTables(info, caches)
        self._info = info
        self._log = log
        self.device = info.device
        self.block_size_bytes = info.block_size_bytes
        self.block_count = info.superblock.s_blocks_count
        self.group_count = info.group_count
        self.max_file_blocks = indirect.max_file_blocks(info)
        self.xip = info.xip
        self._groups = self.tables.groups
        self._inodes = self.tables.inodes

    @classmethod
    def mount(
        cls,
        source: BlockSource,
        *,
        device: str = "dcssblk0",
        read_only: bool = True,
        xip: bool = False,
        dax: bool = False,
        silent: bool = False,
        logical_block_size_bytes: int = 512,
        log: LogFunction = ignore_log,
        caches: CacheSizes = CACHES,
    ) -> "Volume":
        """Check the superblock and the group descriptors, read nothing else, and return the volume.

        `log` gets level ("err", "warn", "info") and line, `EXT2-fs (device): …`, as the kernel's log would. A refusal
        is KernelError(EINVAL) with such a line; its `__cause__` is the Ext2FormatError with what was found, if there
        is one. `silent` omits what the kernel omits when it probes for a file system. Blocks smaller
        than `logical_block_size_bytes` (4096 for dcssblk) are refused. `read_only` is True afterwards where the
        revision is too new to write.
        """
        kernel_log = Ext2Log(device, log)
        info = fill_super(
            source,
            kernel_log,
            read_only=read_only,
            in_place="xip" if xip else "dax" if dax else None,
            silent=silent,
            logical_block_size_bytes=logical_block_size_bytes,
        )
        check_descriptors(info, kernel_log)
        setup_super(info, kernel_log)
        return cls(info, kernel_log, caches)

    @property
    def superblock(self) -> Superblock:
        """The superblock, with what was changed since the mount."""
        return self._info.superblock

    @property
    def read_only(self) -> bool:
        """The mount is read-only: it was asked for, or the revision is too new to write."""
        return self._info.read_only

    def invalidate(self) -> None:
        """Forget everything read from the device but the superblock; the next reads see what is there then.

        What was changed here and is not written yet stays.
        """
        self.tables.forget_clean()

    def group(self, number: int) -> GroupDesc:
        """Return a group's descriptor, checked against its group."""
        return self._groups.get(number)

    def root(self) -> Inode:
        """Return the root directory. KernelError(EINVAL) where the kernel would refuse the mount for it."""
        root = self._inodes.get(ROOT_INO)
        if not (root.is_dir and root.blocks_512 and root.size_bytes):
            self._log.refuse("error: corrupt root inode, run e2fsck")
        return root

    def inode(self, number: int) -> Inode:
        """Return an inode that is in use; a reserved number other than the root's, or a deleted inode, is damage."""
        return self._inodes.get(number)

    def mark_inode_dirty(self, inode: Inode) -> None:
        """Keep an inode that was changed until it is written (mark_inode_dirty). Raises KernelError(EROFS)."""
        self._info.writer()
        self._inodes.mark_dirty(inode)

    def write_inode(self, inode: Inode) -> None:
        """Write one inode now if it is dirty, as fsync does. Raises KernelError(EROFS)."""
        self._inodes.write(inode)

    def set_group(self, number: int, desc: GroupDesc) -> None:
        """Change a group's descriptor; `sync` writes it. Raises KernelError(EROFS)."""
        self._info.writer()
        self._groups.set(number, desc)

    def set_superblock(self, superblock: Superblock) -> None:
        """Change the superblock's counts, state and times; `sync` writes it. Raises KernelError(EROFS)."""
        self._info.writer()
        self._info.superblock = superblock
        self._info.superblock_dirty = True

    @property
    def dirty(self) -> bool:
        """Something was changed that `sync` has not written yet."""
        return bool(self._inodes.dirty or self._groups.dirty or self._info.superblock_dirty)

    def sync(self) -> None:
        """Write what was changed, and have the source write what it holds back. Raises KernelError."""
        if self.dirty:
            self._inodes.write_dirty()
            self._groups.write_dirty()
            write_super(self._info)
        if self._info.target is not None:
            self._info.target.flush()

    def hold(self, inode: Inode) -> None:
        """Keep one object for an inode, whatever else is read, until `release`."""
        self.tables.hold(inode)

    def release(self, inode: Inode) -> None:
        """End one hold of an inode."""
        self.tables.release(inode.number)

    def begin_writing(self, source: WritableSource) -> None:
        """Have the volume written through another source over the same device, as a remount with rw does.

        Warns as a mount does. Raises KernelError(EROFS) where the revision is too new to write.
        """
        self._info.read_only, self._info.source, self._info.target = False, source, source
        setup_super(self._info, self._log)
        self._info.writer()

    def end_writing(self) -> None:
        """Have the volume read-only from now on; everything must have been written."""
        self._info.read_only, self._info.target = True, None

    def overhead_blocks(self) -> int:
        """Return the blocks of metadata that statfs(2) leaves out, unless a mount says minixdf."""
        return overhead_blocks(self._info)

    def inode_slot(self, number: int) -> Inode:
        """Return what the inode table on the device holds at `number`, 1 and up, be it reserved, free or deleted.

        It is an object of its own, not the one that `inode` returns.
        """
        return read_slot(self._info, self._groups.get, number)

    def get_block(self, inode: Inode, file_block: int) -> int:
        """Return the device's block that holds a file's block, 0 for a hole (ext2_get_block); i_size plays no part."""
        return indirect.get_block(self._info, inode, file_block)

    def runs(self, inode: Inode, first_block: int = 0, block_count: int | None = None) -> Iterator[BlockRun]:
        """Yield the file's blocks as runs, each as long as it can be; holes are runs too. None: up to i_size."""
        return indirect.runs(self._info, inode, first_block, block_count)

    def indirect_blocks(self, inode: Inode) -> Iterator[int]:
        """Yield the blocks that hold the file's pointers, also past i_size."""
        return indirect.indirect_blocks(self._info, inode)

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the inode number that `name` has in a directory, or None; KernelError ENOTDIR or ENAMETOOLONG."""
        return self.tables.lookup(directory, name)

    def entries(self, directory: Inode) -> Iterator[DirEntry]:
        """Yield a directory's entries, "." and ".." among them; an index of hashes in it is read as linear."""
        return directories.entries(self._info, directory)

    def readlink(self, inode: Inode) -> bytes:
        """Return a symbolic link's target."""
        return namei.readlink(self._info, inode)

    def xattrs(self, inode: Inode) -> dict[bytes, bytes]:
        """Return the extended attributes in the inode's attribute block; those inside large inodes are ext4's only."""
        return xattr.xattrs(self._info, inode)

    def resolve(self, path: bytes, *, follow: bool = True) -> Inode:
        """Return the inode that a path names, from the root; KernelError ENOENT, ENOTDIR, ELOOP or ENAMETOOLONG."""
        return self.tables.known(path) or namei.resolve(self, path, follow=follow)

    def walk(self) -> Iterator[tuple[bytes, Inode]]:
        """Yield path and inode of everything, the root as b"/" first, each directory before what it holds."""
        return namei.walk(self._info, self)
