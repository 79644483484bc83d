"""/dev: a node for each device that there is now (devtmpfs)."""

import stat
from collections.abc import Iterator
from errno import EINVAL, EISDIR, ENOENT

from dcss.errors import KernelError
from vmguest.block.device import BlockDevice
from vmguest.fs.devices import NULL, CharacterDevice, Devices
from vmguest.fs.file import FileOperations
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode

_ROOT, _NULL, _FIRST_DISK = 1, 2, 16
_MINOR_BITS = 20  # linux/kdev_t.h
_CHARACTERS, _LINKS, _DIRECTORIES = 1 << 40, 1 << 41, 1 << 42  # where numbers of these begin


class DevFileSystem(SimpleFileSystem):
    """A mounted /dev. Nodes come and go with their devices; mknod makes nodes in other file systems."""

    type_name = source = "devtmpfs"
    root = _ROOT
    options: tuple[str, ...] = ("ro",)
    device_number = (0, 5)
    writer = None

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._disks = devices.disks

    def inode(self, number: int) -> SimpleInode:
        """Return an inode. Raises KernelError(ENOENT) where its device is gone."""
        if number == _ROOT or number >= _DIRECTORIES:
            return SimpleInode(number, stat.S_IFDIR | 0o755, links_count=2)
        if number >= _LINKS:
            return SimpleInode(number, stat.S_IFLNK | 0o777, size_bytes=len(self._target(number)))
        for device in self._devices.characters:
            if _number_of_character(device) == number:
                return SimpleInode(number, stat.S_IFCHR | device.mode, rdev=device.number)
        disk = next((disk for disk in self._disks if self._number_of_disk(disk) == number), None)
        if disk is None:
            raise KernelError(ENOENT, f"/dev inode {number}: the device is gone")
        return SimpleInode(number, stat.S_IFBLK | 0o660, rdev=disk.number)

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:
        """Return the inode number of a node, or None."""
        return dict(self.names(directory)).get(name)

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers."""
        if directory.number == _ROOT:
            directories = self._directories()
            yield from ((name, _DIRECTORIES + place) for place, name in enumerate(directories))
            yield from ((name, _LINKS + place) for place, name in enumerate(self._devices.links))
            yield from ((each.name, _number_of_character(each)) for each in self._devices.characters if _on_top(each))
            yield from ((disk.name.encode(), self._number_of_disk(disk)) for disk in self._disks)

    def readlink(self, inode: VfsInode) -> bytes:
        """Return a symbolic link's target. Raises KernelError(EINVAL)."""
        if not inode.is_symlink:
            raise KernelError(EINVAL, f"/dev inode {inode.number}: not a symbolic link")
        return self._target(inode.number)

    def open(self, inode: VfsInode) -> FileOperations:
        """Refuse: nothing here is a regular file. Raises KernelError(EISDIR)."""
        raise KernelError(EISDIR, f"/dev inode {inode.number}: not a regular file")

    def _directories(self) -> list[bytes]:
        return self._devices.directories

    def _target(self, number: int) -> bytes:
        return list(self._devices.links.values())[number - _LINKS]

    def _number_of_disk(self, disk: BlockDevice) -> int:
        """Return a disk's inode number: its minor number, among those of its driver."""
        major, minor = disk.number
        return _FIRST_DISK + (self._disks.major_index(major) << _MINOR_BITS) + minor


def _on_top(device: CharacterDevice) -> bool:
    return b"/" not in device.name


def _number_of_character(device: CharacterDevice) -> int:
    major, minor = device.number
    return _NULL if device.number == NULL else _CHARACTERS + (major << _MINOR_BITS) + minor
