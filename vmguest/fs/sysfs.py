"""/sys: attributes of devices as files. What is shown is made at each look, what is written goes to the driver."""

import stat
from collections.abc import Callable, Iterator
from errno import EACCES, EINVAL, EIO, EISDIR, ENOENT, EOPNOTSUPP, EPERM
from typing import NamedTuple, NoReturn

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.credentials import Credentials
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode, TextFile

Path = tuple[bytes, ...]
_ROOT = 1


class SysfsAttribute(NamedTuple):
    """A file of sysfs: what it shows, what a write does; None where it cannot be read or written."""

    show: Callable[[], str] | None = None
    store: Callable[[str], object] | None = None
    mode: int = 0o444


class SysfsLink(NamedTuple):
    """A symbolic link of sysfs."""

    target: bytes


SysfsDirectory = dict[bytes, "SysfsDirectory | SysfsAttribute | SysfsLink"]
SysfsEntry = SysfsDirectory | SysfsAttribute | SysfsLink


class AttributeFile(TextFile):
    """An open attribute: shows what was true at its opening, stores what is written."""

    def __init__(self, attribute: SysfsAttribute) -> None:
        super().__init__(attribute.show().encode() if attribute.show is not None else b"")
        self._attribute = attribute

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Store a text. Raises KernelError: EIO where the attribute takes none, else what the driver says."""
        if self._attribute.store is None:
            raise KernelError(EIO, f"{len(data)} bytes at {position}: this attribute cannot be written")
        self._attribute.store(bytes(data).decode("ascii", "replace"))
        return len(data)

    def truncate(self, size_bytes: int) -> None:
        """Do nothing: an attribute has no size of its own to cut."""

    def _pieces(self, position: int, count: int) -> Iterator[memoryview]:
        if self._attribute.show is None:
            raise KernelError(EIO, "this attribute cannot be read")
        return super()._pieces(position, count)


class SysFileSystem(SimpleFileSystem):
    """A mounted /sys; `tree` returns what it shows now. It is its own Writer, which stores and makes no names."""

    type_name = source = "sysfs"
    root = _ROOT
    options: tuple[str, ...] = ("rw",)
    device_number = (0, 4)

    def __init__(self, tree: Callable[[], SysfsDirectory]) -> None:
        self._tree = tree
        self._paths: list[Path] = [(), ()]  # by inode number; a path keeps its number
        self._numbers: dict[Path, int] = {(): _ROOT}

    @property
    def writer(self) -> "SysFileSystem":
        """What is written goes to attributes."""
        return self

    def inode(self, number: int) -> SimpleInode:
        """Return an inode. Raises KernelError(ENOENT) where its device is gone."""
        entry = self._entry(self._paths[number])
        if isinstance(entry, dict):
            return SimpleInode(number, stat.S_IFDIR | 0o755, 0, links_count=2)
        if isinstance(entry, SysfsLink):
            return SimpleInode(number, stat.S_IFLNK | 0o777, len(entry.target))
        return SimpleInode(number, stat.S_IFREG | entry.mode, PAGE_SIZE)

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:
        """Return the inode number of a name, or None."""
        path = self._paths[directory.number]
        entry = self._entry(path)
        return self._number((*path, name)) if isinstance(entry, dict) and name in entry else None

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:
        """Yield a directory's names and inode numbers."""
        path = self._paths[directory.number]
        entry = self._entry(path)
        for name in entry if isinstance(entry, dict) else ():
            yield name, self._number((*path, name))

    def readlink(self, inode: VfsInode) -> bytes:
        """Return a link's target."""
        entry = self._entry(self._paths[inode.number])
        if not isinstance(entry, SysfsLink):
            raise KernelError(EINVAL, f"inode {inode.number}: not a symbolic link")
        return entry.target

    def open(self, inode: VfsInode) -> AttributeFile:
        """Open an attribute for reading. Raises KernelError: EISDIR; EACCES, for root too, where it shows nothing."""
        entry = self._attribute(inode)
        if entry.show is None:
            raise KernelError(EACCES, f"inode {inode.number}: this attribute cannot be read")
        return AttributeFile(entry)

    def open_writable(self, inode: VfsInode) -> AttributeFile:
        """Open an attribute for a store. Raises KernelError: EISDIR; EACCES, for root too, where it takes none."""
        entry = self._attribute(inode)
        if entry.store is None:
            raise KernelError(EACCES, f"inode {inode.number}: this attribute cannot be written")
        return AttributeFile(entry)

    def _attribute(self, inode: VfsInode) -> SysfsAttribute:
        entry = self._entry(self._paths[inode.number])
        if not isinstance(entry, SysfsAttribute):
            raise KernelError(EISDIR, f"inode {inode.number}: is a directory")
        return entry

    def create(self, *_names: object, **_named: object) -> NoReturn:
        """Refuse a file, as open(2) does in a directory that can have none made."""
        raise KernelError(EACCES, "in sysfs, files are made by drivers")

    def make_unnamed(self, *_names: object, **_named: object) -> NoReturn:
        """Refuse a file without a name."""
        raise KernelError(EOPNOTSUPP, "sysfs has no files without names")

    def _refuse(self, *_names: object, **_named: object) -> NoReturn:
        raise KernelError(EPERM, "in sysfs, names are made and removed by drivers")

    mkdir = mknod = symlink = link = unlink = rmdir = rename = _refuse
    set_attributes = set_xattr = _refuse

    def act_for(self, caller: Credentials) -> None:
        """Do nothing: nothing is allocated."""

    def accessed(self, inode: VfsInode, now: int) -> None:
        """Do nothing: times are not kept."""

    def sync(self) -> None:
        """Do nothing: there is no device."""

    def _entry(self, path: Path) -> SysfsEntry:
        entry: SysfsEntry = self._tree()
        for name in path:
            if not isinstance(entry, dict) or name not in entry:
                raise KernelError(ENOENT, f"/sys/{b'/'.join(path).decode(errors='replace')}: the device is gone")
            entry = entry[name]
        return entry

    def _number(self, path: Path) -> int:
        number = self._numbers.setdefault(path, len(self._paths))
        if number == len(self._paths):
            self._paths.append(path)
        return number
