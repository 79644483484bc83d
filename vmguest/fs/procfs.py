"""/proc: what the guest kernel knows of itself, in Linux's formats, made anew at each open."""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EINVAL, EISDIR, ENODEV
from typing import TYPE_CHECKING, NamedTuple

from dcss.abi.extmem import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.block.dcssblk import DCSSBLK_MAJOR
from vmguest.fs.file import Actor, clip, copy_pieces, send_pieces
from vmguest.fs.filesystem import Inode, StatFs
from vmguest.fs.mapping import UserMapping
from vmguest.machine import PREFIX_AREA_PAGES

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
    storage, books = kernel.machine.storage, kernel.books()
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
    return "nodev\tsysfs\nnodev\trootfs\nnodev\tproc\nnodev\ttmpfs\n\text2\n"


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
        f"{m.file_system.source} {_escaped(m.at)} {m.file_system.type_name} {','.join(m.file_system.options)} 0 0\n"
        for m in kernel.vfs.mounts
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


@dataclass(frozen=True, slots=True)
class ProcInode:
    """The root directory or one file; a file's size is 0 until it is read, as in Linux."""

    number: int
    mode: int
    links_count: int = 1
    size_bytes: int = 0
    uid: int = 0
    gid: int = 0
    blocks_512: int = 0
    atime: int = 0
    mtime: int = 0
    ctime: int = 0
    is_symlink: bool = False

    @property
    def is_dir(self) -> bool:
        """The root."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        """Anything else."""
        return stat.S_ISREG(self.mode)


class ProcFile:
    """An open file of /proc: what was true when it was opened."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    @property
    def size_bytes(self) -> int:
        """Bytes that there are to read."""
        return len(self._content)

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy bytes into `buffer`."""
        return copy_pieces(self._pieces(position, len(buffer)), buffer)

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Hand the text to `actor`."""
        return send_pieces(self._pieces(position, count), actor)

    def mmap(self, first_page: int, pages: int) -> UserMapping:
        """Refuse: there is no page to map."""
        raise KernelError(ENODEV, f"mmap of {pages} pages from page {first_page}: a file of /proc has none")

    def _pieces(self, position: int, count: int) -> Iterator[memoryview]:
        end = clip(self, position, count)
        if position < end:
            yield self._content[position:end]


class ProcFileSystem:
    """The mounted /proc of one guest kernel."""

    type_name = source = "proc"
    root = _ROOT
    options: tuple[str, ...] = ("ro",)
    device_number = (0, 2)
    writer = None
    page_cache_bytes = 0
    buffer_bytes = 0

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel

    def inode(self, number: int) -> ProcInode:
        """Return an inode."""
        if number == _ROOT:
            return ProcInode(number, stat.S_IFDIR | 0o555, links_count=2)
        return ProcInode(number, stat.S_IFREG | 0o444)

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the inode number of a file, or None."""
        return NAMES.get(name) if directory.is_dir else None

    def names(self, directory: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers."""
        if directory.is_dir:
            yield from NAMES.items()

    def readlink(self, inode: Inode) -> bytes:
        """Refuse: there are no links here."""
        raise KernelError(EINVAL, f"inode {inode.number}: not a symbolic link")

    def open(self, inode: Inode) -> ProcFile:
        """Make a file's text. Raises KernelError(EISDIR) for the root."""
        if inode.is_dir:
            raise KernelError(EISDIR, "/proc: is a directory")
        _, text_of = _FILES[inode.number - _ROOT - 1]
        return ProcFile(text_of(self._kernel).encode(errors="surrogateescape"))

    def release(self, inode: Inode) -> None:
        """Nothing is held for one open file."""

    def statfs(self) -> StatFs:
        """Return nothing: it has no blocks."""
        return StatFs(PAGE_SIZE, 0, 0, 0, 0, 0)

    def unmount(self) -> None:
        """Nothing is held."""
