"""/dev: a node for each disk that there is now, and null (devtmpfs)."""

import stat
from collections.abc import Iterator
from errno import EINVAL, EISDIR, ENOENT

from dcss.errors import KernelError
from vmguest.block.device import BlockDevice
from vmguest.block.genhd import BlockDevices
from vmguest.fs.devices import NULL
from vmguest.fs.file import FileOperations
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode

_ROOT, _NULL, _FIRST_DISK = 1, 2, 16
_MINOR_BITS = 20  # linux/kdev_t.h


class DevFileSystem(SimpleFileSystem):
    """A mounted /dev. Nodes come and go with their devices; mknod makes nodes in other file systems."""

    type_name = source = "devtmpfs"
    root = _ROOT
    options: tuple[str, ...] = ("ro",)
    device_number = (0, 5)
    writer = None

    def __init__(self, disks: BlockDevices) -> None:
        self._disks = disks

    def inode(self, number: int) -> SimpleInode:
        """Return an inode. Raises KernelError(ENOENT) where its device is gone."""
        if number == _ROOT:
            return SimpleInode(number, stat.S_IFDIR | 0o755, links_count=2)
        if number == _NULL:
            return SimpleInode(number, stat.S_IFCHR | 0o666, rdev=NULL)
        device = next((device for device in self._disks if self._number_of(device) == number), None)
        if device is None:
            raise KernelError(ENOENT, f"/dev inode {number}: the device is gone")
        return SimpleInode(number, stat.S_IFBLK | 0o660, rdev=device.number)

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:
        """Return the inode number of a node, or None."""
        return dict(self.names(directory)).get(name)

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers."""
        if directory.is_dir:
            yield b"null", _NULL
            for device in self._disks:
                yield device.name.encode(), self._number_of(device)

    def readlink(self, inode: VfsInode) -> bytes:
        """Refuse: there are no links here. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"inode {inode.number}: not a symbolic link")

    def open(self, inode: VfsInode) -> FileOperations:
        """Refuse: nothing here is a regular file. Raises KernelError(EISDIR)."""
        raise KernelError(EISDIR, f"/dev inode {inode.number}: not a regular file")

    def _number_of(self, device: BlockDevice) -> int:
        """Return a disk's inode number: its minor number, among those of its driver."""
        major, minor = device.number
        return _FIRST_DISK + (self._disks.major_index(major) << _MINOR_BITS) + minor
