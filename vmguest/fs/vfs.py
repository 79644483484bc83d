"""Names: mounts, and the walk from a path to an inode across them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EBUSY, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from typing import NamedTuple

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.fs.file import RegularFile
from vmguest.fs.filesystem import FileSystem, Inode
from vmguest.fs.rootfs import RootFileSystem

MAX_SYMLINKS = 40
PATH_MAX = 4096


@dataclass(slots=True, eq=False)
class Mount:
    """One mounted file system; `open_files` keeps it from being unmounted."""

    file_system: FileSystem
    at: bytes
    open_files: int = 0


class Node(NamedTuple):
    """A place in the tree: an inode of a mounted file system, and the path that led there."""

    mount: Mount
    inode: Inode
    path: bytes


class OpenFile:
    """An open file: keeps its mount busy until closed."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.file: RegularFile = node.mount.file_system.open(node.inode)
        node.mount.open_files += 1
        self._open = True

    def close(self) -> None:
        """Let the mount go; closing twice is one close."""
        if self._open:
            self._open = False
            self.node.mount.open_files -= 1

    def __enter__(self) -> "OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Vfs:
    """The mounts of a guest by path, over rootfs, which gets the directories that mounts need."""

    def __init__(self) -> None:
        self._rootfs = RootFileSystem()
        self._mounts: dict[bytes, list[Mount]] = {b"/": [Mount(self._rootfs, b"/")]}

    @property
    def mounts(self) -> list[Mount]:
        """All mounts, also those that others cover, in the order of their paths; rootfs first."""
        return [mount for _, stack in sorted(self._mounts.items()) for mount in stack]

    def mount(self, file_system: FileSystem, at: str) -> Mount:
        """Mount at a directory, which rootfs makes. Raises KernelError(ENOENT, ENOTDIR) where another lacks it."""
        node = self._mount_point(os.fsencode(at))
        if not node.inode.is_dir:
            raise KernelError(ENOTDIR, f"mount point {at}: not a directory")
        mount = Mount(file_system, node.path)
        self._mounts.setdefault(node.path, []).append(mount)
        return mount

    def umount(self, at: str) -> None:
        """Unmount what was mounted last at `at`. Raises KernelError: EBUSY in use, EINVAL nothing mounted there."""
        path = self.resolve(os.fsencode(at)).path
        stack = self._mounts.get(path, [])
        if not stack or stack[-1].file_system is self._rootfs:
            raise KernelError(EINVAL, f"umount {at}: not mounted")
        below = [other for other in self._mounts if other != path and other.startswith(path.rstrip(b"/") + b"/")]
        if stack[-1].open_files or below:
            raise KernelError(EBUSY, f"umount {at}: {stack[-1].open_files} open files, {len(below)} mounts below")
        stack.pop().file_system.unmount()
        if not stack:
            del self._mounts[path]

    def resolve(self, path: bytes, *, follow: bool = True) -> Node:
        """Walk a path, through symbolic links and mounts. Raises KernelError: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG."""
        if len(path) >= PATH_MAX:
            raise KernelError(ENAMETOOLONG, f"path of {len(path)} bytes, wanted less than {PATH_MAX}")
        trail = [self._root()]
        names = _names(path)
        links = 0
        while names:
            name = names.pop()
            if not trail[-1].inode.is_dir:
                raise KernelError(ENOTDIR, f"{os.fsdecode(trail[-1].path)}: not a directory")
            if name == b"..":
                del trail[max(1, len(trail) - 1) :]
                continue
            node = self._child(trail[-1], name)
            if not node.inode.is_symlink or not (names or follow):
                trail.append(node)
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise KernelError(ELOOP, f"{os.fsdecode(path)}: more than {MAX_SYMLINKS} symbolic links")
            target = node.mount.file_system.readlink(node.inode)
            names.extend(_names(target))
            if target.startswith(b"/"):
                del trail[1:]
        return trail[-1]

    def open(self, path: bytes) -> OpenFile:
        """Open a regular file by path."""
        return OpenFile(self.resolve(path))

    def children(self, directory: Node) -> Iterator[Node]:
        """Yield what a directory holds, mounts in place of what they cover."""
        for name, number in directory.mount.file_system.names(directory.inode):
            yield self._enter(directory, name, number)

    def _root(self) -> Node:
        mount = self._mounts[b"/"][-1]
        return Node(mount, mount.file_system.inode(mount.file_system.root), b"/")

    def _child(self, directory: Node, name: bytes) -> Node:
        if len(name) > NAME_LEN:
            raise KernelError(ENAMETOOLONG, f"name of {len(name)} bytes, wanted at most {NAME_LEN}")
        number = directory.mount.file_system.lookup(directory.inode, name)
        if number is None:
            raise KernelError(ENOENT, f"{os.fsdecode(_join(directory.path, name))}: no such file or directory")
        return self._enter(directory, name, number)

    def _enter(self, directory: Node, name: bytes, number: int) -> Node:
        path = _join(directory.path, name)
        stack = self._mounts.get(path)
        if stack:
            top = stack[-1]
            return Node(top, top.file_system.inode(top.file_system.root), path)
        return Node(directory.mount, directory.mount.file_system.inode(number), path)

    def _mount_point(self, path: bytes) -> Node:
        node = self._root()
        done = []
        for name in reversed(_names(path)):
            done.append(name)
            if node.mount.file_system is self._rootfs:
                self._rootfs.mkdir(node.inode.number, name)
            node = self.resolve(b"/" + b"/".join(done))
        return node


def _join(directory: bytes, name: bytes) -> bytes:
    return directory.rstrip(b"/") + b"/" + name


def _names(path: bytes) -> list[bytes]:
    """Return a path's names, last first, so that pop() walks it."""
    return [name for name in reversed(path.split(b"/")) if name not in {b"", b"."}]
