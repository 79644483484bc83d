"""A model of a file system in dictionaries, and an ext2 volume that takes the same operations."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from errno import EEXIST, EISDIR, ENODATA, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY
from stat import S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_ISGID
from typing import Any

from ext2_support import content

from dcss.errors import KernelError
from dcss.ext2.inode import Inode, InodeChange
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume
from dcss.ext2.write.writer import VolumeWriter

Operation = tuple[Any, ...]


@dataclass(eq=False)
class Node:
    """A file, directory or link of the model."""

    mode: int
    data: bytes = b""
    children: dict[bytes, Node] = field(default_factory=dict)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    uid: int = 0
    links: int = 1

    @property
    def is_dir(self) -> bool:
        return self.mode & 0xF000 == S_IFDIR

    @property
    def is_regular(self) -> bool:
        return self.mode & 0xF000 == S_IFREG


class RefusedError(Exception):
    """The model refuses, with an errno."""

    def __init__(self, errno: int) -> None:
        super().__init__(os.strerror(errno))
        self.errno = errno


class Model:
    """What a file system should be after operations, each given by its name and the paths it is about."""

    def __init__(self) -> None:
        self.root = Node(S_IFDIR | 0o755, links=2)

    def find(self, path: bytes) -> Node:
        node = self.root
        for name in path.split(b"/"):
            if name:
                if not node.is_dir:
                    raise RefusedError(ENOTDIR)
                if name not in node.children:
                    raise RefusedError(ENOENT)
                node = node.children[name]
        return node

    def directory(self, path: bytes) -> Node:
        node = self.find(path)
        if not node.is_dir:
            raise RefusedError(ENOTDIR)
        return node

    def _new(self, directory: bytes, name: bytes, node: Node) -> None:
        parent = self.directory(directory)
        if name in parent.children:
            raise RefusedError(EEXIST)
        parent.children[name] = node

    def create(self, directory: bytes, name: bytes) -> None:
        self._new(directory, name, Node(S_IFREG | 0o644))

    def mkdir(self, directory: bytes, name: bytes) -> None:
        parent = self.find(directory)
        self._new(directory, name, Node(S_IFDIR | 0o755 | parent.mode & S_ISGID, links=2))
        parent.links += 1

    def symlink(self, directory: bytes, name: bytes, target: bytes) -> None:
        self._new(directory, name, Node(S_IFLNK | 0o777, data=target))

    def mkfifo(self, directory: bytes, name: bytes) -> None:
        self._new(directory, name, Node(S_IFIFO | 0o600))

    def link(self, old: bytes, directory: bytes, name: bytes) -> None:
        node = self.find(old)
        if node.is_dir:
            raise RefusedError(EISDIR)  # the machine never asks the writer for that: it is the VFS's to refuse
        self._new(directory, name, node)
        node.links += 1

    def unlink(self, directory: bytes, name: bytes) -> None:
        parent = self.directory(directory)
        if name not in parent.children:
            raise RefusedError(ENOENT)
        if parent.children[name].is_dir:
            raise RefusedError(EISDIR)
        parent.children.pop(name).links -= 1

    def rmdir(self, directory: bytes, name: bytes) -> None:
        parent = self.directory(directory)
        if name not in parent.children:
            raise RefusedError(ENOENT)
        if not parent.children[name].is_dir:
            raise RefusedError(ENOTDIR)
        if parent.children[name].children:
            raise RefusedError(ENOTEMPTY)
        del parent.children[name]
        parent.links -= 1

    def rename(self, old_directory: bytes, old: bytes, new_directory: bytes, new: bytes) -> None:
        source, target = self.directory(old_directory), self.directory(new_directory)
        if old not in source.children:
            raise RefusedError(ENOENT)
        node, there = source.children[old], target.children.get(new)
        if there is node:
            return
        if there is not None:
            if node.is_dir and not there.is_dir:
                raise RefusedError(ENOTDIR)
            if there.is_dir and not node.is_dir:
                raise RefusedError(EISDIR)
            if there.children:
                raise RefusedError(ENOTEMPTY)
            there.links -= 1
            target.links -= there.is_dir
        target.children[new] = node
        target.links += node.is_dir
        del source.children[old]
        source.links -= node.is_dir

    def write(self, path: bytes, position: int, data: bytes) -> None:
        node = self.find(path)
        self._check_regular(node)
        before = node.data[:position].ljust(position, b"\0") if data else node.data
        node.data = before + data + node.data[position + len(data) :] if data else node.data

    def truncate(self, path: bytes, size_bytes: int) -> None:
        node = self.find(path)
        self._check_regular(node)
        node.data = node.data[:size_bytes].ljust(size_bytes, b"\0")

    def chmod(self, path: bytes, mode: int) -> None:
        node = self.find(path)
        node.mode = node.mode & 0xF000 | mode

    def chown(self, path: bytes, uid: int) -> None:
        self.find(path).uid = uid

    def setxattr(self, path: bytes, name: bytes, value: bytes) -> None:
        self.find(path).xattrs[name] = value

    def removexattr(self, path: bytes, name: bytes) -> None:
        node = self.find(path)
        if name not in node.xattrs:
            raise RefusedError(ENODATA)
        del node.xattrs[name]

    @staticmethod
    def _check_regular(node: Node) -> None:
        if not node.is_regular:
            raise RefusedError(EISDIR if node.is_dir else 22)


class Written:
    """An ext2 volume that is given the same operations as a model."""

    def __init__(self, buffer: bytearray) -> None:
        self.source = BufferSource(buffer, writable=True)
        self.volume = Volume.mount(self.source, read_only=False)
        self.writer = VolumeWriter(self.volume)

    def directory(self, path: bytes) -> Inode:
        inode = self.find(path)
        if not inode.is_dir:
            raise KernelError(ENOTDIR, "not a directory")
        return inode

    def find(self, path: bytes) -> Inode:
        """Return what a path names; links in it are not followed, as in the model."""
        inode = self.volume.root()
        for name in filter(None, path.split(b"/")):
            if not inode.is_dir:
                raise KernelError(ENOTDIR, "not a directory")
            number = self.volume.lookup(inode, name)
            if number is None:
                raise KernelError(ENOENT, "no such name")
            inode = self.volume.inode(number)
        return inode

    def create(self, directory: bytes, name: bytes) -> None:
        self.writer.create(self.directory(directory), name)

    def mkdir(self, directory: bytes, name: bytes) -> None:
        self.writer.mkdir(self.directory(directory), name)

    def symlink(self, directory: bytes, name: bytes, target: bytes) -> None:
        self.writer.symlink(self.directory(directory), name, target)

    def mkfifo(self, directory: bytes, name: bytes) -> None:
        self.writer.mknod(self.directory(directory), name, S_IFIFO | 0o600)

    def link(self, old: bytes, directory: bytes, name: bytes) -> None:
        inode = self.find(old)
        if inode.is_dir:
            raise KernelError(EISDIR, "a directory")
        self.writer.link(inode, self.directory(directory), name)

    def unlink(self, directory: bytes, name: bytes) -> None:
        self.writer.unlink(self.directory(directory), name)

    def rmdir(self, directory: bytes, name: bytes) -> None:
        self.writer.rmdir(self.directory(directory), name)

    def rename(self, old_directory: bytes, old: bytes, new_directory: bytes, new: bytes) -> None:
        self.writer.rename(self.directory(old_directory), old, self.directory(new_directory), new)

    def write(self, path: bytes, position: int, data: bytes) -> None:
        inode = self.find(path)
        if self.writer.files.write(inode, position, data) < len(data):
            raise KernelError(ENOSPC, "only a part was written")

    def truncate(self, path: bytes, size_bytes: int) -> None:
        self.writer.files.truncate(self.find(path), size_bytes)

    def chmod(self, path: bytes, mode: int) -> None:
        self.writer.set_attributes(self.find(path), InodeChange(mode=mode))

    def chown(self, path: bytes, uid: int) -> None:
        self.writer.set_attributes(self.find(path), InodeChange(uid=uid))

    def setxattr(self, path: bytes, name: bytes, value: bytes) -> None:
        self.writer.attributes.set(self.find(path), name, value)

    def removexattr(self, path: bytes, name: bytes) -> None:
        self.writer.attributes.set(self.find(path), name, None)


def moves_into_itself(operation: Operation) -> bool:
    """Whether an operation moves a directory below itself, which is the VFS's to refuse."""
    if operation[0] != "rename":
        return False
    old, new = (b"/".join(operation[at : at + 2]).strip(b"/") + b"/" for at in (1, 3))
    return bool(new.startswith(old) or old.startswith(new))


def shape(node: Node, path: bytes = b"/") -> dict[bytes, tuple[Any, ...]]:
    """Return a model's tree: mode, owner, links, data and attributes by path."""
    found: dict[bytes, tuple[Any, ...]] = {
        path: (node.mode, node.uid, node.links, b"" if node.is_dir else node.data, node.xattrs)
    }
    for name, child in node.children.items():
        found |= shape(child, path.rstrip(b"/") + b"/" + name)
    return found


def volume_shape(source: BufferSource, volume: Volume) -> dict[bytes, tuple[Any, ...]]:
    """Return a volume's tree in the same form, without lost+found."""
    found: dict[bytes, tuple[Any, ...]] = {}
    for path, inode in volume.walk():
        if path == b"/lost+found":
            continue
        data = b""
        if inode.is_regular:
            data = content(source, volume, inode)
        elif inode.is_symlink:
            data = volume.readlink(inode)
        links = inode.links_count - (path == b"/")  # lost+found's ".."
        found[path] = (inode.mode, inode.uid, links, data, volume.xattrs(inode))
    return found
