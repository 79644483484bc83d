"""/dev/pts: a node for each terminal, whose permissions and owners may be changed (fs/devpts/inode.c)."""

import stat
from collections.abc import Iterator
from errno import EACCES, EINVAL, EISDIR, ENOENT, EOPNOTSUPP, EPERM
from time import time
from typing import Final, NoReturn

from dcss.errors import KernelError
from dcss.ext2.inode import InodeChange
from vmguest.credentials import Credentials
from vmguest.fs.devices import CharacterDevice, Devices
from vmguest.fs.file import FileOperations, WritableFileOperations
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.filesystem_types import FileSystemType
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode
from vmguest.fs.options import MountOptions, refuse_data

MAJOR: Final = 136  # of /dev/pts/0 and the like (UNIX98_PTY_SLAVE_MAJOR)
TTY_GROUP: Final = 5  # tty, as Debian has it
MODE: Final = 0o620
_ROOT, _FIRST = 1, 3  # inode numbers; Linux has ptmx between them


class DevPtsFileSystem(SimpleFileSystem):
    """A mounted /dev/pts. Nodes come and go with their terminals; nothing else can be made or removed."""

    type_name = source = "devpts"
    root = _ROOT
    options: tuple[str, ...] = ("rw", f"gid={TTY_GROUP}", f"mode={MODE:o}", "ptmxmode=000")
    device_number = (0, 11)

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self.writer = NodeWriter(devices)
        self._made = int(time())

    def inode(self, number: int) -> SimpleInode:
        """Return an inode. Raises KernelError(ENOENT) where its terminal is gone."""
        if number == _ROOT:
            now = self._made
            return SimpleInode(number, stat.S_IFDIR | 0o755, links_count=2, atime=now, mtime=now, ctime=now)
        device = self._devices.character((MAJOR, number - _FIRST))
        if device is None:
            raise KernelError(ENOENT, f"/dev/pts inode {number}: the terminal is gone")
        return SimpleInode(number, stat.S_IFCHR | device.mode, rdev=device.number, uid=device.uid, gid=device.gid)

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:  # noqa: ARG002
        """Return the inode number of a node, or None."""
        if not name.isdigit() or b"%d" % int(name) != name:
            return None
        minor = int(name)
        return None if self._devices.character((MAJOR, minor)) is None else minor + _FIRST

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:  # noqa: ARG002
        """Yield names and inode numbers."""
        for device in self._devices.characters:
            major, minor = device.number
            if major == MAJOR:
                yield b"%d" % minor, minor + _FIRST

    def readlink(self, inode: VfsInode) -> bytes:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"/dev/pts inode {inode.number}: not a symbolic link")

    def open(self, inode: VfsInode) -> FileOperations:
        """Refuse: nothing here is a regular file. Raises KernelError(EISDIR)."""
        raise KernelError(EISDIR, f"/dev/pts inode {inode.number}: not a regular file")


class NodeWriter:
    """Changes permissions and owners of nodes, and refuses everything else."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    def act_for(self, caller: Credentials) -> None:
        """Nothing is allocated."""

    def create(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(EACCES), as the directory of a file system that cannot make files does."""
        raise KernelError(EACCES, f"/dev/pts/{name.decode(errors='replace')}: nothing can be made there")

    def mkdir(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(EPERM)."""
        self._refuse(name)

    def symlink(self, directory: VfsInode, name: bytes, target: bytes, caller: Credentials) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(EPERM)."""
        self._refuse(name)

    def mknod(
        self,
        directory: VfsInode,  # noqa: ARG002
        name: bytes,
        mode: int,  # noqa: ARG002
        rdev: tuple[int, int],  # noqa: ARG002
        caller: Credentials,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse. Raises KernelError(EPERM)."""
        self._refuse(name)

    def make_unnamed(self, directory: VfsInode, mode: int, caller: Credentials, *, linkable: bool) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(EOPNOTSUPP)."""
        raise KernelError(EOPNOTSUPP, "/dev/pts: nothing can be made there")

    def link(self, inode: VfsInode, directory: VfsInode, name: bytes) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(EPERM)."""
        self._refuse(name)

    def unlink(self, directory: VfsInode, name: bytes) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(EPERM)."""
        self._refuse(name)

    def rmdir(self, directory: VfsInode, name: bytes) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(EPERM)."""
        self._refuse(name)

    def rename(
        self,
        old_directory: VfsInode,  # noqa: ARG002
        old_name: bytes,
        new_directory: VfsInode,  # noqa: ARG002
        new_name: bytes,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse. Raises KernelError(EPERM)."""
        self._refuse(old_name)

    def open_writable(self, inode: VfsInode) -> WritableFileOperations:
        """Refuse: nothing here is a regular file. Raises KernelError(EISDIR)."""
        raise KernelError(EISDIR, f"/dev/pts inode {inode.number}: not a regular file")

    def set_attributes(self, inode: VfsInode, change: InodeChange) -> None:
        """Set permission bits and owners of a node; nothing of it has times. Raises KernelError(EPERM): the root."""
        device = self._devices.character(inode.rdev)
        if device is None:
            raise KernelError(EPERM, "/dev/pts: its permissions are the kernel's")
        self._devices.replace_chrdev(_changed(device, change))

    def accessed(self, inode: VfsInode, now: int) -> None:
        """Nothing here has a time of its last read."""

    def set_xattr(self, inode: VfsInode, name: bytes, value: bytes | None, flags: int = 0) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(EOPNOTSUPP)."""
        raise KernelError(EOPNOTSUPP, f"/dev/pts inode {inode.number}: has no extended attributes")

    def sync(self) -> None:
        """Nothing is on a device."""

    @staticmethod
    def _refuse(name: bytes) -> NoReturn:
        raise KernelError(EPERM, f"/dev/pts/{name.decode(errors='replace')}: nodes are the kernel's")


def _changed(device: CharacterDevice, change: InodeChange) -> CharacterDevice:
    """Return a device with other permissions and owners."""
    mode = device.mode if change.mode is None else change.mode & 0o7777
    uid = device.uid if change.uid is None else change.uid
    gid = device.gid if change.gid is None else change.gid
    return device._replace(mode=mode, uid=uid, gid=gid)


def devpts_type(devices: Devices) -> FileSystemType:
    """Return the type, of which a guest has one file system."""
    file_system = DevPtsFileSystem(devices)

    def mount(_device: object, options: MountOptions, _mounted: object) -> DevPtsFileSystem:
        refuse_data("devpts", options)
        return file_system

    return FileSystemType("devpts", mount)
