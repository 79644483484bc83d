"""Mounts and places in the tree that they make (struct mount, struct path): what the walk of paths works on."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

from vmguest.fs.filesystem import FileSystem, VfsInode

Place = tuple[int, bytes]  # a directory by its inode number; what is none by its directory's number and its name


@dataclass(slots=True, eq=False)
class Mount:
    """A file system, or the part of one below inode `root`, whose place there is `root_place`, at a place in the tree.

    `mountpoint` is the place that it covers, None for what the tree begins with, and `covers` what `children` of the
    mount below, the mounts that cover places of it, have it under. `users` counts what keeps it from being unmounted:
    open files, mappings, working directories; `writers` the files open for writing, which keep it from read-only.
    """

    file_system: FileSystem
    root: int
    root_place: Place
    source: str  # what /proc/mounts shows first
    mountpoint: "Dentry | None" = None
    covers: Place = (0, b"")
    flags: frozenset[str] = frozenset()  # ro, nosuid, nodev, noexec, noatime, nodiratime
    users: int = 0
    writers: int = 0
    children: dict[Place, "Mount"] = field(default_factory=dict)

    @property
    def at(self) -> bytes:
        """The path of the place that it covers."""
        return b"/" if self.mountpoint is None else self.mountpoint.path

    @property
    def options(self) -> tuple[str, ...]:
        """The options in force, as /proc/mounts shows them: ro or rw, those of the mount, those of the file system."""
        access, *others = self.file_system.options
        if "ro" in self.flags:
            access = "ro"
        return (access, *sorted(self.flags - {"ro"}), *others)


class Dentry(NamedTuple):
    """A place in the tree (struct path): an inode of a mount, and the name by which `parent` led to it."""

    mount: Mount
    inode: VfsInode
    name: bytes = b""
    parent: "Dentry | None" = None

    @property
    def path(self) -> bytes:
        """The path from the root; of what is in no tree, as a pipe, what names it (d_dname)."""
        if self.parent is None and self.name:
            return self.name
        return self.path_from(None)

    def path_from(self, root: "Dentry | None") -> bytes:
        """Return the path from another root, as getcwd(2) tells it: what is not below that is `(unreachable)`."""
        names = []
        dentry: Dentry | None = self
        while dentry is not None and dentry.parent is not None and not (root is not None and dentry.is_at(root)):
            names.append(dentry.name)
            dentry = dentry.parent
        reached = root is None or (dentry is not None and dentry.is_at(root))
        return (b"" if reached else b"(unreachable)") + b"/" + b"/".join(reversed(names))

    def is_at(self, other: "Dentry") -> bool:
        """Return whether another place is the same directory."""
        return self.mount is other.mount and self.inode.number == other.inode.number

    @property
    def is_mount_root(self) -> bool:
        """Whether something is mounted here."""
        return self.inode.number == self.mount.root

    @property
    def place(self) -> Place:
        """What a mount that covers this place is kept under. A file has one for each of its names (struct dentry)."""
        if self.is_mount_root:
            return self.mount.root_place
        if self.inode.is_dir or self.parent is None:
            return self.inode.number, b""
        return self.parent.inode.number, self.name

    def hold(self) -> "Dentry":
        """Keep the mount from being unmounted, until `release`."""
        self.mount.users += 1
        return self

    def release(self) -> None:
        """End a `hold`."""
        self.mount.users -= 1


class MagicLink(ABC):
    """The inode of a symbolic link that leads to a file itself, whatever its text says, as those of /proc/PID/fd."""

    __slots__ = ()

    @abstractmethod
    def follow(self) -> Dentry:
        """Return what it leads to. Raises KernelError(ENOENT) where that is gone."""


def root_of(mount: Mount, name: bytes, parent: Dentry | None) -> Dentry:
    """Return the root of a mount, by the name that leads to it."""
    return Dentry(mount, mount.file_system.inode(mount.root), name, parent)
