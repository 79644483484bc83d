"""What changes a volume: its inode operations (fs/ext2/namei.c), each whole or not at all.

Permissions are the caller's business, as in the kernel, where the VFS asks before it calls. `Caller` says only who owns
what is made, and who may take the blocks that are kept for root.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EEXIST, EISDIR, EMLINK, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY
from random import getrandbits
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISDIR, S_ISGID
from time import time
from typing import NamedTuple

from dcss.abi.ext2 import (
    BLOCK_POINTERS,
    ERROR_FS,
    INHERITED_FLAGS,
    LINK_MAX,
    N_BLOCKS,
    NAME_LEN,
    OTHER_FLAGS,
    REGULAR_FLAGS,
    VALID_FS,
)
from dcss.errors import KernelError
from dcss.ext2.inode import FAST_SYMLINK_MAX_BYTES, Inode, InodeChange, device_pointers
from dcss.ext2.super import write_super
from dcss.ext2.volume import Volume
from dcss.ext2.write.attributes import AttributeWriter
from dcss.ext2.write.balloc import BlockAllocator
from dcss.ext2.write.entries import DirectoryWriter
from dcss.ext2.write.files import FileWriter
from dcss.ext2.write.ialloc import InodeAllocator

_DEFAULT_MAX_MOUNT_COUNT = 20  # EXT2_DFL_MAX_MNT_COUNT


class Caller(NamedTuple):
    """Who makes a file: its owner and group, and whether the blocks that are reserved may be used."""

    uid: int = 0
    gid: int = 0
    privileged: bool = True


ROOT = Caller()


class VolumeWriter:
    """Changes to one volume that is mounted read-write; at most one for a volume.

    What it does is on the device after `Volume.sync`. An inode without names lives until its last `hold` is released.
    """

    def __init__(self, volume: Volume, evicted: Callable[[int], None] = lambda _number: None) -> None:
        """Begin writing: the volume counts one mount more, and is not clean until `close`.

        `evicted` is told the number of each inode that is freed. Raises KernelError(EROFS).
        """
        info = volume.tables.info
        info.writer()
        self.volume = volume
        self._tables = volume.tables
        self._allocator = BlockAllocator(info, volume.tables.groups)
        self._numbers = InodeAllocator(info, volume.tables.groups)
        self._directories = DirectoryWriter(volume.tables, self._allocator)
        self.files = FileWriter(volume.tables, self._allocator)
        self.attributes = AttributeWriter(volume.tables, self._allocator)
        self._evicted = evicted
        self._orphans: dict[int, Inode] = {}
        self._linkable: set[int] = set()  # inodes that were made without a name and may get one
        block = info.superblock
        self._state = block.s_state
        info.superblock = block._replace(
            s_max_mnt_count=block.s_max_mnt_count or _DEFAULT_MAX_MOUNT_COUNT,
            s_mnt_count=block.s_mnt_count + 1 & 0xFFFF,
            s_state=block.s_state & ~VALID_FS,
        )
        write_super(info, wait=True)

    def mark_damaged(self) -> None:
        """Have the superblock say at once, and after the end of writing too, that there were errors (EXT2_ERROR_FS)."""
        info = self._tables.info
        self._state |= ERROR_FS
        info.superblock = info.superblock._replace(s_state=info.superblock.s_state | ERROR_FS)
        write_super(info, wait=True)

    def close(self) -> None:
        """End writing (ext2_put_super): free what has no name, write all; the volume is as clean as before."""
        info = self._tables.info
        for inode in tuple(self._orphans.values()):
            self._evict(inode)
        info.superblock = info.superblock._replace(s_state=self._state, s_mtime=int(time()) & 0xFFFFFFFF)
        info.superblock_dirty = True
        self.volume.sync()

    def hold(self, inode: Inode) -> None:
        """Keep an inode, also when it loses its last name, until `release`."""
        self._tables.hold(inode)

    def release(self, inode: Inode) -> None:
        """End one hold; the last one of an inode without names frees it."""
        if self._tables.release(inode.number) and inode.number in self._orphans:
            self._evict(self._orphans[inode.number])

    def create(self, directory: Inode, name: bytes, mode: int = 0o644, caller: Caller = ROOT) -> Inode:
        """Make an empty regular file. Raises KernelError: EEXIST, ENAMETOOLONG, ENOENT, ENOTDIR, ENOSPC."""
        with self._new(directory, name, S_IFREG | mode & 0o7777, caller) as inode:
            pass
        return inode

    def mknod(
        self, directory: Inode, name: bytes, mode: int, rdev: tuple[int, int] = (0, 0), caller: Caller = ROOT
    ) -> Inode:
        """Make a device's node, a FIFO, a socket or a file; `mode` has its type. Raises as `create` does."""
        with self._new(directory, name, mode, caller) as inode:
            if inode.is_device:
                inode.block_pointers = device_pointers(*rdev)
        return inode

    def symlink(self, directory: Inode, name: bytes, target: bytes, caller: Caller = ROOT) -> Inode:
        """Make a symbolic link. Raises as `create` does, and ENAMETOOLONG for a target that fills more than a block."""
        if len(target) >= self._tables.info.block_size_bytes:
            raise KernelError(ENAMETOOLONG, f"symbolic link: a target of {len(target)} bytes, wanted less than a block")
        with self._new(directory, name, S_IFLNK | 0o777, caller) as inode:
            inode.is_fast_symlink = len(target) <= FAST_SYMLINK_MAX_BYTES
            if inode.is_fast_symlink:
                inode.block_pointers = BLOCK_POINTERS.unpack(target.ljust(BLOCK_POINTERS.size, b"\0"))
            else:
                self.files.fill(inode, 0, 1, lambda _file_block, block, _count: self._write_block(block, target))
            inode.size_bytes = len(target)
        return inode

    def mkdir(self, directory: Inode, name: bytes, mode: int = 0o755, caller: Caller = ROOT) -> Inode:
        """Make a directory. Raises as `create` does, and EMLINK where its parent has 32000 links."""
        if directory.links_count >= LINK_MAX:
            raise KernelError(EMLINK, f"directory inode {directory.number}: has {directory.links_count} links")
        with self._new(directory, name, S_IFDIR | mode & 0o7777, caller) as inode:
            inode.links_count = 2
            self._directories.make_empty(inode, directory.number)
        directory.links_count += 1
        self._tables.inodes.mark_dirty(directory)
        return inode

    def make_unnamed(self, directory: Inode, mode: int, caller: Caller = ROOT, *, linkable: bool = True) -> Inode:
        """Make an empty regular file without a name (ext2_tmpfile), which its last `release` frees.

        `link` gives it a name where it is `linkable`. Raises KernelError: ENOENT, ENOSPC.
        """
        self._check_alive(directory, b"a file without a name")
        number = self._numbers.allocate(directory.number, mode)
        inode = _new_inode(number, directory, S_IFREG | mode & 0o7777, caller)
        inode.links_count = 0
        self._tables.inodes.add(inode)
        self._orphans[number] = inode
        if linkable:
            self._linkable.add(number)
        return inode

    def link(self, inode: Inode, directory: Inode, name: bytes) -> None:
        """Give a file one more name. Raises KernelError: EEXIST, EMLINK, ENOENT, ENOSPC."""
        self._check_new(directory, name)
        if inode.links_count == 0 and inode.number not in self._linkable:
            raise KernelError(ENOENT, f"inode {inode.number}: was removed")
        if inode.links_count >= LINK_MAX:
            raise KernelError(EMLINK, f"inode {inode.number}: has {inode.links_count} links")
        self._directories.add(directory, name, inode.number, inode.mode)
        inode.links_count += 1
        self._linkable.discard(inode.number)
        self._orphans.pop(inode.number, None)
        self._changed(inode)

    def unlink(self, directory: Inode, name: bytes) -> None:
        """Remove a name of what is no directory. Raises KernelError: ENOENT, EISDIR."""
        inode = self._named(directory, name)
        if inode.is_dir:
            raise KernelError(EISDIR, f"{name!r}: is a directory")
        self._directories.remove(directory, name)
        inode.ctime = directory.ctime
        self._drop_link(inode)

    def rmdir(self, directory: Inode, name: bytes) -> None:
        """Remove an empty directory. Raises KernelError: ENOENT, ENOTDIR, ENOTEMPTY."""
        inode = self._named(directory, name)
        if not inode.is_dir:
            raise KernelError(ENOTDIR, f"{name!r}: not a directory")
        self._check_empty(inode)
        self._directories.remove(directory, name)
        self._drop_directory(inode)
        directory.links_count -= 1
        self._tables.inodes.mark_dirty(directory)

    def rename(self, old_directory: Inode, old_name: bytes, new_directory: Inode, new_name: bytes) -> None:
        """Move a name, over what the new one names, if anything (ext2_rename).

        That a directory does not move into itself is for the caller to see to. Raises KernelError: ENOENT, EISDIR,
        ENOTDIR, ENOTEMPTY, EMLINK, ENOSPC; then nothing has changed.
        """
        inode = self._named(old_directory, old_name)
        number = self._tables.lookup(new_directory, new_name)
        if number == inode.number:
            return  # two names of one file: POSIX has both stay
        moves_directory = inode.is_dir and old_directory is not new_directory
        if number is not None:
            self._replace(inode, new_directory, new_name, self._tables.inodes.get(number))
        else:
            if moves_directory and new_directory.links_count >= LINK_MAX:
                raise KernelError(EMLINK, f"directory inode {new_directory.number}: has {LINK_MAX} links")
            self._check_new(new_directory, new_name)
            self._directories.add(new_directory, new_name, inode.number, inode.mode)
            if inode.is_dir:
                new_directory.links_count += 1
                self._tables.inodes.mark_dirty(new_directory)
        self._changed(inode)
        self._directories.remove(old_directory, old_name)
        if inode.is_dir:
            if moves_directory:
                self._directories.redirect(inode, b"..", new_directory.number, new_directory.mode, touch=False)
            old_directory.links_count -= 1
            self._tables.inodes.mark_dirty(old_directory)

    def set_attributes(self, inode: Inode, change: InodeChange) -> None:
        """Set permission bits, owners and times of an inode (ext2_setattr without a size)."""
        change.apply(inode)
        self._tables.inodes.mark_dirty(inode)

    def _replace(self, inode: Inode, directory: Inode, name: bytes, target: Inode) -> None:
        """Have a name lead to another inode, and take it away from `target`."""
        if inode.is_dir and not target.is_dir:
            raise KernelError(ENOTDIR, f"{name!r}: not a directory, and cannot be replaced by one")
        if target.is_dir and not inode.is_dir:
            raise KernelError(EISDIR, f"{name!r}: is a directory")
        if target.is_dir:
            self._check_empty(target)
        self._directories.redirect(directory, name, inode.number, inode.mode)
        target.ctime = directory.ctime
        if target.is_dir:
            self._drop_directory(target)
        else:
            self._drop_link(target)

    def _drop_link(self, inode: Inode) -> None:
        inode.links_count = max(0, inode.links_count - 1)
        self._tables.inodes.mark_dirty(inode)
        self._free_unused(inode)

    def _drop_directory(self, inode: Inode) -> None:
        inode.links_count = 0
        inode.size_bytes = 0
        self._directories.forget(inode.number)
        self._changed(inode)
        self._free_unused(inode)

    def _free_unused(self, inode: Inode) -> None:
        if inode.links_count == 0:
            self._orphans[inode.number] = inode
            if not self._tables.is_held(inode.number):
                self._evict(inode)

    def _evict(self, inode: Inode) -> None:
        """Free an inode without names, and all that it has (ext2_evict_inode)."""
        self._orphans.pop(inode.number, None)
        self._linkable.discard(inode.number)
        inode.dtime = int(time()) & 0xFFFFFFFF
        inode.size_bytes = 0
        self.attributes.drop(inode)
        if inode.has_block_map:
            self.files.truncate_blocks(inode, 0)
        self._numbers.free(inode.number, inode.mode)
        self._tables.inodes.remove(inode)
        self._evicted(inode.number)

    def act_for(self, caller: Caller) -> None:
        """Allocate blocks for somebody from now on, who may not have the right to those that are kept for root."""
        self._allocator.privileged = caller.privileged

    @contextmanager
    def acting(self, caller: Caller) -> Iterator[None]:
        """Allocate blocks for somebody, who may not have the right to those that are kept for root."""
        before = self._allocator.privileged
        self._allocator.privileged = caller.privileged
        try:
            yield
        finally:
            self._allocator.privileged = before

    @contextmanager
    def _new(self, directory: Inode, name: bytes, mode: int, caller: Caller) -> Iterator[Inode]:
        """Make an inode, have the caller complete it, and give it its name; free it again where one of them fails."""
        self._check_new(directory, name)
        number = self._numbers.allocate(directory.number, mode)
        inode = _new_inode(number, directory, mode, caller)
        self._tables.inodes.add(inode)
        with self.acting(caller):
            try:
                yield inode
                self._directories.add(directory, name, number, inode.mode)
            except BaseException:
                inode.links_count = 0
                self._evict(inode)
                raise

    def _check_new(self, directory: Inode, name: bytes) -> None:
        if not directory.is_dir:
            raise KernelError(ENOTDIR, f"inode {directory.number}: not a directory")
        self._check_alive(directory, name)
        if len(name) > NAME_LEN:
            raise KernelError(ENAMETOOLONG, f"a name of {len(name)} bytes, wanted at most {NAME_LEN}")
        if self._tables.lookup(directory, name) is not None:
            raise KernelError(EEXIST, f"{name!r}: is there")

    @staticmethod
    def _check_alive(directory: Inode, name: bytes) -> None:
        if directory.links_count == 0:  # it is still somebody's working directory (IS_DEADDIR)
            raise KernelError(ENOENT, f"{name!r}: the directory was removed")

    def _check_empty(self, directory: Inode) -> None:
        if not self._directories.is_empty(directory):
            raise KernelError(ENOTEMPTY, f"directory inode {directory.number}: is not empty")

    def _named(self, directory: Inode, name: bytes) -> Inode:
        number = self._tables.lookup(directory, name)
        if number is None:
            raise KernelError(ENOENT, f"{name!r}: no such file or directory")
        return self._tables.inodes.get(number)

    def _changed(self, inode: Inode) -> None:
        inode.ctime = int(time())
        self._tables.inodes.mark_dirty(inode)

    def _write_block(self, block: int, content: bytes) -> None:
        size_bytes = self._tables.info.block_size_bytes
        self._tables.info.writer().write(block * size_bytes, content.ljust(size_bytes, b"\0"))


def _new_inode(number: int, directory: Inode, mode: int, caller: Caller) -> Inode:
    """Return an inode as ext2_new_inode makes it; a directory with set-group-ID hands on its group, and that bit."""
    now = int(time())
    gid = caller.gid
    if directory.mode & S_ISGID:
        gid = directory.gid
        if S_ISDIR(mode):
            mode |= S_ISGID
    inherited = directory.flags & int(INHERITED_FLAGS)
    if not S_ISDIR(mode):
        inherited &= int(REGULAR_FLAGS if S_IFMT(mode) == S_IFREG else OTHER_FLAGS)
    return Inode(
        number,
        mode,
        caller.uid,
        gid,
        size_bytes=0,
        atime=now,
        ctime=now,
        mtime=now,
        dtime=0,
        links_count=1,
        blocks_512=0,
        flags=inherited,
        generation=getrandbits(32),
        file_acl=0,
        block_pointers=(0,) * N_BLOCKS,
        is_fast_symlink=False,
    )
