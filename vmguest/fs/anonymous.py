"""Inodes of what has no name in the tree: those of pipefs, sockfs and anon_inodefs."""

import stat
from collections.abc import Iterator
from errno import EINVAL, EISDIR
from itertools import count
from time import time
from typing import Final

from dcss.errors import KernelError
from vmguest.credentials import Credentials
from vmguest.fs.file import FileOperations
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode
from vmguest.fs.mount import Dentry, Mount
from vmguest.fs.namei import Vfs

PIPEFS, SOCKFS, ANON_INODEFS = "pipefs", "sockfs", "anon_inodefs"
_MINORS: Final = {PIPEFS: 9, SOCKFS: 8, ANON_INODEFS: 10}  # of the numbers without a device
_ROOT = 0


class InternalFileSystem(SimpleFileSystem):
    """A file system that is mounted, but at no place of the tree; its inodes live as long as somebody has them."""

    root = _ROOT
    source = "none"
    options: tuple[str, ...] = ("rw",)
    writer = None

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name
        self.device_number = (0, _MINORS[type_name])
        self._numbers = count(_ROOT + 1)

    def new_inode(self, mode: int, rdev: tuple[int, int], owner: Credentials) -> SimpleInode:
        """Return an inode that no other open has."""
        now, number = int(time()), next(self._numbers)
        return SimpleInode(number, mode, rdev=rdev, uid=owner.uid, gid=owner.gid, atime=now, mtime=now, ctime=now)

    def inode(self, number: int) -> SimpleInode:
        """Return the root, the only inode that has a fixed number."""
        return SimpleInode(number, stat.S_IFDIR | 0o555, links_count=2)

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:  # noqa: ARG002
        """Return None: there are no names here."""
        return None

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:  # noqa: ARG002
        """Yield nothing."""
        yield from ()

    def readlink(self, inode: VfsInode) -> bytes:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"{self.type_name} inode {inode.number}: not a symbolic link")

    def open(self, inode: VfsInode) -> FileOperations:
        """Refuse: nothing here is a regular file. Raises KernelError(EISDIR)."""
        raise KernelError(EISDIR, f"{self.type_name} inode {inode.number}: not a regular file")


def anonymous_dentry(vfs: Vfs, type_name: str, mode: int, label: str, rdev: tuple[int, int] = (0, 0)) -> Dentry:
    """Return a place in no tree, for a new inode of one of the internal types; `/proc/PID/fd` shows it as `label`.

    A %d in the label becomes the number of the inode.
    """
    mount = vfs.internal_mounts.get(type_name)
    if mount is None:
        mount = Mount(InternalFileSystem(type_name), _ROOT, (_ROOT, b""), "none")
        vfs.internal_mounts[type_name] = mount
    system = mount.file_system
    assert isinstance(system, InternalFileSystem)
    inode = system.new_inode(mode, rdev, vfs.user)
    return Dentry(mount, inode, label.replace("%d", str(inode.number)).encode())
