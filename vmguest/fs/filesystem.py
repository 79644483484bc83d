"""What the VFS asks of a mounted file system, whatever its type."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from dcss.ext2.inode import InodeChange
from vmguest.block.device import BlockDevice
from vmguest.credentials import Credentials
from vmguest.fs.file import FileOperations, WritableFileOperations
from vmguest.fs.options import MountOptions

XATTR_CREATE, XATTR_REPLACE = 1, 2  # flags of setxattr(2)


class StatFs(NamedTuple):
    """How full a file system is (struct statfs), in blocks; all zero where it has no blocks of its own."""

    block_size_bytes: int
    blocks: int
    free_blocks: int
    available_blocks: int  # to others than root
    inodes: int
    free_inodes: int


class VfsInode(Protocol):
    """An inode as the VFS sees it; `mode` has the type bits of stat(2), times are seconds since 1970."""

    @property
    def number(self) -> int:
        """Inode number, unique in its file system."""
        ...

    @property
    def mode(self) -> int:
        """Type and permission bits."""
        ...

    @property
    def size_bytes(self) -> int:
        """i_size."""
        ...

    @property
    def rdev(self) -> tuple[int, int]:
        """Major and minor number of a device's node, (0, 0) for anything else."""
        ...

    @property
    def uid(self) -> int:
        """Owner."""
        ...

    @property
    def gid(self) -> int:
        """Group."""
        ...

    @property
    def links_count(self) -> int:
        """Names that it has."""
        ...

    @property
    def blocks_512(self) -> int:
        """Sectors of 512 bytes that it takes."""
        ...

    @property
    def atime(self) -> int:
        """Last read."""
        ...

    @property
    def mtime(self) -> int:
        """Last change of its data."""
        ...

    @property
    def ctime(self) -> int:
        """Last change of the inode."""
        ...

    @property
    def is_dir(self) -> bool:
        """S_ISDIR."""
        ...

    @property
    def is_symlink(self) -> bool:
        """S_ISLNK."""
        ...

    @property
    def is_regular(self) -> bool:
        """S_ISREG."""
        ...


class Writer(Protocol):
    """What changes a file system that is mounted read-write; names are given to directories that lack them.

    `caller` owns what is made; whether he may make it was asked before (`vmguest.fs.permission`). Raises KernelError:
    ENOSPC and what else each says.
    """

    def act_for(self, caller: Credentials) -> None:
        """Allocate for somebody from now on: not everybody may have what is kept for root."""
        ...

    def create(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> VfsInode:
        """Make an empty regular file."""
        ...

    def mkdir(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> VfsInode:
        """Make a directory. Raises KernelError(EMLINK)."""
        ...

    def symlink(self, directory: VfsInode, name: bytes, target: bytes, caller: Credentials) -> VfsInode:
        """Make a symbolic link. Raises KernelError(ENAMETOOLONG)."""
        ...

    def mknod(
        self, directory: VfsInode, name: bytes, mode: int, rdev: tuple[int, int], caller: Credentials
    ) -> VfsInode:
        """Make the node of a device, a FIFO or a socket; `mode` has its type."""
        ...

    def make_unnamed(self, directory: VfsInode, mode: int, caller: Credentials, *, linkable: bool) -> VfsInode:
        """Make an empty regular file without a name, near a directory; it goes with its last open.

        Where it is `linkable`, `link` may give it one.
        """
        ...

    def link(self, inode: VfsInode, directory: VfsInode, name: bytes) -> None:
        """Give a file one more name. Raises KernelError: EMLINK, ENOENT its last name was removed."""
        ...

    def unlink(self, directory: VfsInode, name: bytes) -> None:
        """Remove a name; what it named goes with its last name and its last open."""
        ...

    def rmdir(self, directory: VfsInode, name: bytes) -> None:
        """Remove a directory. Raises KernelError(ENOTEMPTY)."""
        ...

    def rename(self, old_directory: VfsInode, old_name: bytes, new_directory: VfsInode, new_name: bytes) -> None:
        """Move a name, over what the new one names, if anything. Raises KernelError: ENOTDIR, EISDIR, ENOTEMPTY."""
        ...

    def open_writable(self, inode: VfsInode) -> WritableFileOperations:
        """Open a regular file, for writing too; `FileSystem.release` ends that as well."""
        ...

    def set_attributes(self, inode: VfsInode, change: InodeChange) -> None:
        """Set permission bits, owners and times; the time of the inode's last change becomes now."""
        ...

    def accessed(self, inode: VfsInode, now: int) -> None:
        """Set the time of the last read."""
        ...

    def set_xattr(self, inode: VfsInode, name: bytes, value: bytes | None, flags: int = 0) -> None:
        """Set an extended attribute, or remove it where `value` is None. Raises KernelError: EOPNOTSUPP, ENODATA, …"""
        ...

    def sync(self) -> None:
        """Write everything that was changed to the device."""
        ...


class FileSystem(Protocol):
    """A mounted file system (struct super_block); raises KernelError, or Ext2FormatError where it is damaged."""

    type_name: str
    source: str  # what /proc/mounts shows first
    root: int

    @property
    def options(self) -> tuple[str, ...]:
        """The options in force."""
        ...

    @property
    def device_number(self) -> tuple[int, int]:
        """Major and minor number, as stat(2) gives them; major 0 where no block device is behind it."""
        ...

    @property
    def device(self) -> BlockDevice | None:
        """The disk that it is on, or None."""
        ...

    @property
    def has_acl(self) -> bool:
        """Whether access control lists count (IS_POSIXACL)."""
        ...

    @property
    def writer(self) -> Writer | None:
        """What changes it, or None where it is mounted read-only."""
        ...

    @property
    def page_cache_bytes(self) -> int:
        """Copies of regular files' data in real storage."""
        ...

    @property
    def buffer_bytes(self) -> int:
        """Copies of metadata blocks in real storage."""
        ...

    def inode(self, number: int) -> VfsInode:
        """Return an inode."""
        ...

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:
        """Return the inode number of a name in a directory, or None."""
        ...

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers of a directory, without . and .."""
        ...

    def readlink(self, inode: VfsInode) -> bytes:
        """Return a symbolic link's target."""
        ...

    def open(self, inode: VfsInode) -> FileOperations:
        """Open a regular file. Raises KernelError: EISDIR for a directory, EINVAL for anything else."""
        ...

    def hold(self, inode: VfsInode) -> None:
        """Keep an inode, also when it loses its last name, until `release`: something of it is mounted elsewhere."""
        ...

    def release(self, inode: VfsInode) -> None:
        """End one open of a regular file, or one hold."""
        ...

    def is_held(self, inode: VfsInode) -> bool:
        """Return whether somebody has an inode open, or holds it."""
        ...

    def xattrs(self, inode: VfsInode) -> dict[bytes, bytes]:
        """Return the extended attributes of an inode by their full names."""
        ...

    def statfs(self) -> StatFs:
        """Return how full it is."""
        ...

    def remount(self, options: MountOptions) -> None:
        """Change options of what is mounted. Raises KernelError: EINVAL, EACCES, EROFS; then nothing has changed."""
        ...

    def unmount(self) -> None:
        """Drop what was copied and release the device."""
        ...
