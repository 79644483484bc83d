"""/proc: what the guest kernel knows of itself, in Linux's formats, made anew at each open."""

import stat
from collections.abc import Callable, Iterator
from errno import EINVAL, EISDIR
from typing import TYPE_CHECKING, NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.block.dcssblk import DCSSBLK_MAJOR
from vmguest.fs.filesystem import TYPES, VfsInode
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode, TextFile
from vmguest.storage import PREFIX_AREA_PAGES

if TYPE_CHECKING:
    from vmguest.kernel import Kernel

KERNEL_RELEASE = "3.13.0-dcss"
KERNEL_VERSION = "#1 dcss-emulator, engine process"
_ROOT = 1


class Memory(NamedTuple):
    """The guest's real storage, in bytes; pages of segments are not in it, since the guest has no copy of them."""

    total_bytes: int
    free_bytes: int
    buffer_bytes: int
    cached_bytes: int
    anonymous_bytes: int


def memory(kernel: "Kernel") -> Memory:
    """Return how real storage is used; what is in no field is the kernel's own."""
    storage, books = kernel.machine.storage, kernel.counters()
    return Memory(
        storage.size_bytes - PREFIX_AREA_PAGES * PAGE_SIZE,
        storage.free_bytes,
        books.buffer_bytes,
        books.page_cache_bytes,
        books.anonymous_bytes,
    )


def _cmdline(kernel: "Kernel") -> str:
    return f"{kernel.command_line}\n"


def _devices(_kernel: "Kernel") -> str:
    return f"Character devices:\n\nBlock devices:\n{DCSSBLK_MAJOR:3} dcssblk\n"


def _filesystems(_kernel: "Kernel") -> str:
    return "".join(f"{nodev}\t{name}\n" for nodev, name in TYPES)


def _iomem(kernel: "Kernel") -> str:
    return "".join(f"{r.start:08x}-{r.end:08x} : {r.name}\n" for r in kernel.extmem.iomem)


def _meminfo(kernel: "Kernel") -> str:
    now = memory(kernel)
    fields = {
        "MemTotal": now.total_bytes,
        "MemFree": now.free_bytes,
        "Buffers": now.buffer_bytes,
        "Cached": now.cached_bytes,
        "AnonPages": now.anonymous_bytes,
    }
    return "".join(f"{name + ':':15} {size_bytes >> 10:8} kB\n" for name, size_bytes in fields.items())


def _mounts(kernel: "Kernel") -> str:
    return "".join(
        f"{m.source} {_escaped(m.at)} {m.file_system.type_name} {','.join(m.options)} 0 0\n" for m in kernel.vfs.mounts
    )


def _version(_kernel: "Kernel") -> str:
    return f"Linux version {KERNEL_RELEASE} {KERNEL_VERSION}\n"


_FILES: tuple[tuple[bytes, Callable[["Kernel"], str]], ...] = (
    (b"cmdline", _cmdline),
    (b"devices", _devices),
    (b"filesystems", _filesystems),
    (b"iomem", _iomem),
    (b"meminfo", _meminfo),
    (b"mounts", _mounts),
    (b"version", _version),
)
NAMES = {name: number for number, (name, _) in enumerate(_FILES, _ROOT + 1)}


def _escaped(path: bytes) -> str:
    """Return a path as seq_path() prints it: what would end a field is octal."""
    text = path.decode(errors="surrogateescape")
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in text)


class ProcFileSystem(SimpleFileSystem):
    """The mounted /proc of one guest kernel."""

    type_name = source = "proc"
    root = _ROOT
    options: tuple[str, ...] = ("ro",)
    device_number = (0, 2)
    writer = None

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel

    def inode(self, number: int) -> SimpleInode:
        """Return an inode."""
        if number == _ROOT:
            return SimpleInode(number, stat.S_IFDIR | 0o555, links_count=2)
        return SimpleInode(number, stat.S_IFREG | 0o444)

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:
        """Return the inode number of a file, or None."""
        return NAMES.get(name) if directory.is_dir else None

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers."""
        if directory.is_dir:
            yield from NAMES.items()

    def readlink(self, inode: VfsInode) -> bytes:
        """Refuse: there are no links here."""
        raise KernelError(EINVAL, f"inode {inode.number}: not a symbolic link")

    def open(self, inode: VfsInode) -> TextFile:
        """Make a file's text. Raises KernelError(EISDIR) for the root."""
        if inode.is_dir:
            raise KernelError(EISDIR, "/proc: is a directory")
        _, text_of = _FILES[inode.number - _ROOT - 1]
        return TextFile(text_of(self._kernel).encode(errors="surrogateescape"))
