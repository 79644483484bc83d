"""The registry of file-system types (fs/filesystems.c): mount(2) and /proc/filesystems know what is in it."""

from collections.abc import Callable, Iterator, Sequence
from errno import EBUSY, ENODEV
from typing import NamedTuple

from dcss.errors import KernelError
from vmguest.block.device import BlockDevice
from vmguest.fs.filesystem import FileSystem
from vmguest.fs.options import MountOptions

MountFunction = Callable[[BlockDevice | None, MountOptions, Sequence[FileSystem]], FileSystem]


class FileSystemType(NamedTuple):
    """One type. `mount` gets the disk, the options and the file systems that are mounted already; it may return one.

    A type that is `internal` is mounted by the kernel alone.
    """

    name: str
    mount: MountFunction
    needs_device: bool = False
    internal: bool = False


class FileSystemTypes:
    """Types by name, in the order of registration."""

    def __init__(self) -> None:
        self._types: dict[str, FileSystemType] = {}

    def __iter__(self) -> Iterator[FileSystemType]:
        return iter(self._types.values())

    def register(self, new: FileSystemType) -> None:
        """Add a type (register_filesystem). Raises KernelError(EBUSY) where one has that name."""
        if new.name in self._types:
            raise KernelError(EBUSY, f"file system type {new.name}: registered already")
        self._types[new.name] = new

    def get(self, name: str) -> FileSystemType:
        """Return the type of a name. Raises KernelError(ENODEV)."""
        found = self._types.get(name)
        if found is None:
            raise KernelError(ENODEV, f"file system type {name}: unknown")
        return found
