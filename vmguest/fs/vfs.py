"""Names: mounts, and the walk from a path to an inode across them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EBUSY, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from typing import TYPE_CHECKING, NamedTuple, Self

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.machine import RealStorage

if TYPE_CHECKING:  # what a guest need not know, a fork server need not load in between
    from vmguest.fs.file import RegularFile
    from vmguest.fs.filesystem import FileSystem, Inode
    from vmguest.fs.ramfs import RamFileSystem

MAX_SYMLINKS = 40
PATH_MAX = 4096
ON_DEMAND = frozenset({b"proc", b"sys", b"tmp"})  # in /, mounted when somebody asks for one of them


@dataclass(slots=True, eq=False)
class Mount:
    """One mounted file system; `open_files` keeps it from being unmounted."""

    file_system: "FileSystem"
    at: bytes
    open_files: int = 0


class Node(NamedTuple):
    """A place in the tree: an inode of a mounted file system, and the path that led there."""

    mount: Mount
    inode: "Inode"
    path: bytes


class OpenFile:
    """An open file: keeps its mount busy until closed. `file` is given where it has been opened in another way."""

    def __init__(self, node: Node, file: "RegularFile | None" = None) -> None:
        self.node = node
        self.file: RegularFile = node.mount.file_system.open(node.inode) if file is None else file
        node.mount.open_files += 1
        self._open = True

    def close(self) -> None:
        """Let the mount go; closing twice is one close."""
        if self._open:
            self._open = False
            self.node.mount.open_files -= 1
            self.node.mount.file_system.release(self.node.inode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Vfs:
    """The mounts of a guest by path, over rootfs, which gets the directories that mounts need.

    rootfs is made when somebody needs it: most guests mount something else at / and never do. `populate` is called
    once, when the first path leads to one of `ON_DEMAND`; it calls `attach` for them.
    """

    def __init__(self, storage: RealStorage, populate: Callable[[], None]) -> None:
        self._storage = storage
        self._rootfs: RamFileSystem | None = None
        self._mounts: dict[bytes, list[Mount]] = {}
        self._populate: Callable[[], None] | None = populate
        self._attached: list[bytes] = []

    @property
    def mounts(self) -> list[Mount]:
        """All mounts, also those that others cover, in the order of their paths; rootfs first, once it is needed."""
        return [mount for _, stack in sorted(self._mounts.items()) for mount in stack]

    def mount(self, file_system: "FileSystem", at: str) -> Mount:
        """Mount at a directory, which rootfs makes. Raises KernelError(ENOENT, ENOTDIR) where another lacks it."""
        path = self._mount_point(os.fsencode(at))
        mount = Mount(file_system, path)
        self._mounts.setdefault(path, []).append(mount)
        return mount

    def populate(self) -> None:
        """Mount what is mounted on demand, unless that has been done."""
        populate, self._populate = self._populate, None
        if populate is not None:
            self._make_rootfs()
            populate()

    def attach(self, file_system: "FileSystem", name: bytes) -> None:
        """Mount at /`name`, unless something is; the root need not have that directory, and may be read-only."""
        path = b"/" + name
        if path not in self._mounts:
            self._mounts[path] = [Mount(file_system, path)]
            self._attached.append(path)

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
            if path in self._attached:
                self._attached.remove(path)

    def resolve(self, path: bytes, *, follow: bool = True) -> Node:
        """Walk a path, through symbolic links and mounts. Raises KernelError: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG."""
        if len(path) >= PATH_MAX:
            raise KernelError(ENAMETOOLONG, f"path of {len(path)} bytes, wanted less than {PATH_MAX}")
        trail = [self.root()]
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
            if not node.inode.is_symlink or not (names or follow or path.endswith(b"/")):
                trail.append(node)
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise KernelError(ELOOP, f"{os.fsdecode(path)}: more than {MAX_SYMLINKS} symbolic links")
            target = node.mount.file_system.readlink(node.inode)
            names.extend(_names(target))
            if target.startswith(b"/"):
                del trail[1:]
        if path.endswith(b"/") and not trail[-1].inode.is_dir:
            raise KernelError(ENOTDIR, f"{os.fsdecode(trail[-1].path)}: not a directory")
        return trail[-1]

    def open(self, path: bytes) -> OpenFile:
        """Open a regular file by path."""
        return OpenFile(self.resolve(path))

    def children(self, directory: Node) -> Iterator[Node]:
        """Yield what a directory holds, mounts in place of what they cover."""
        attached = self._attached if directory.path == b"/" else []
        for name, number in directory.mount.file_system.names(directory.inode):
            node = self._enter(directory, name, number)
            if node.path not in attached:
                yield node
        for path in sorted(attached):
            yield self._top(path)

    def root(self) -> Node:
        """Return /."""
        if b"/" not in self._mounts:
            self._make_rootfs()
        return self._top(b"/")

    def is_mount_point(self, path: bytes) -> bool:
        """Whether something is mounted at a path."""
        return path in self._mounts

    def _child(self, directory: Node, name: bytes) -> Node:
        if len(name) > NAME_LEN:
            raise KernelError(ENAMETOOLONG, f"name of {len(name)} bytes, wanted at most {NAME_LEN}")
        if self._populate is not None and name in ON_DEMAND and directory.path == b"/":
            self.populate()
        path = _join(directory.path, name)
        if path in self._mounts:
            return self._top(path)
        number = directory.mount.file_system.lookup(directory.inode, name)
        if number is None:
            raise KernelError(ENOENT, f"{os.fsdecode(path)}: no such file or directory")
        return Node(directory.mount, directory.mount.file_system.inode(number), path)

    def _enter(self, directory: Node, name: bytes, number: int) -> Node:
        path = _join(directory.path, name)
        if path in self._mounts:
            return self._top(path)
        return Node(directory.mount, directory.mount.file_system.inode(number), path)

    def _top(self, path: bytes) -> Node:
        mount = self._mounts[path][-1]
        return Node(mount, mount.file_system.inode(mount.file_system.root), path)

    def _mount_point(self, path: bytes) -> bytes:
        """Return a directory's path; what it lacks is made where that is on rootfs."""
        names = _names(path)
        if not names:
            return b"/"
        node = self.root()
        done = b""
        while names:
            name = names.pop()
            done += b"/" + name
            if node.mount.file_system is self._rootfs and self._rootfs.lookup(node.inode, name) is None:
                self._rootfs.mkdir(node.inode, name)
            node = self.resolve(done)
        if not node.inode.is_dir:
            raise KernelError(ENOTDIR, f"mount point {os.fsdecode(path)}: not a directory")
        return node.path

    def _make_rootfs(self) -> None:
        if self._rootfs is None:
            from vmguest.fs.ramfs import RamFileSystem

            self._rootfs = RamFileSystem(self._storage, "rootfs")
            self._mounts.setdefault(b"/", []).insert(0, Mount(self._rootfs, b"/"))


def _join(directory: bytes, name: bytes) -> bytes:
    return directory.rstrip(b"/") + b"/" + name


def _names(path: bytes) -> list[bytes]:
    """Return a path's names, last first, so that pop() walks it."""
    return [name for name in reversed(path.split(b"/")) if name not in {b"", b"."}]
