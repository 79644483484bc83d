"""What the VFS asks of a mounted file system, whatever its type."""

from collections.abc import Iterator
from typing import Protocol

from vmguest.fs.file import RegularFile


class Inode(Protocol):
    """An inode as the VFS sees it; `mode` has the type bits of stat(2)."""

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
    def page_cache_bytes(self) -> int:
        """Copies of regular files' data in real storage."""
        ...

    @property
    def buffer_bytes(self) -> int:
        """Copies of metadata blocks in real storage."""
        ...

    def inode(self, number: int) -> Inode:
        """Return an inode."""
        ...

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the inode number of a name in a directory, or None."""
        ...

    def names(self, directory: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers of a directory, without . and .."""
        ...

    def readlink(self, inode: Inode) -> bytes:
        """Return a symbolic link's target."""
        ...

    def open(self, inode: Inode) -> RegularFile:
        """Open a regular file. Raises KernelError: EISDIR for a directory, EINVAL for anything else."""
        ...

    def unmount(self) -> None:
        """Drop what was copied and release the device."""
        ...
