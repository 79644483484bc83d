"""The file system a guest starts with: directories in memory, made for mount points and nothing else."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EINVAL, EISDIR

from dcss.errors import KernelError
from vmguest.fs.file import RegularFile
from vmguest.fs.filesystem import Inode


@dataclass(slots=True)
class Directory:
    """A directory; `children` maps names to inode numbers."""

    number: int
    children: dict[bytes, int] = field(default_factory=dict)
    mode: int = stat.S_IFDIR | 0o755
    size_bytes: int = 0
    is_dir: bool = True
    is_symlink: bool = False
    is_regular: bool = False


class RootFileSystem:
    """rootfs: empty directories that mounts are put on."""

    type_name = "rootfs"
    source = "rootfs"
    root = 1
    options: tuple[str, ...] = ("rw",)
    page_cache_bytes = 0
    buffer_bytes = 0

    def __init__(self) -> None:
        self._directories = {self.root: Directory(self.root)}

    def mkdir(self, parent: int, name: bytes) -> int:
        """Make a directory, or find it; return its inode number."""
        children = self._directories[parent].children
        if name not in children:
            number = len(self._directories) + 1
            self._directories[number] = Directory(number)
            children[name] = number
        return children[name]

    def inode(self, number: int) -> Inode:
        """Return a directory."""
        return self._directories[number]

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the inode number of a name in a directory, or None."""
        return self._directories[directory.number].children.get(name)

    def names(self, directory: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers of a directory."""
        yield from self._directories[directory.number].children.items()

    def readlink(self, inode: Inode) -> bytes:
        """Refuse: there are no links here."""
        raise KernelError(EINVAL, f"inode {inode.number}: not a symbolic link")

    def open(self, inode: Inode) -> RegularFile:
        """Refuse: there are only directories here."""
        raise KernelError(EISDIR, f"inode {inode.number}: is a directory")

    def unmount(self) -> None:
        """Nothing is held."""
