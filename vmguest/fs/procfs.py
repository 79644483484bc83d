"""/proc: what the guest kernel knows of itself, in Linux's formats, made anew at each open."""

import stat
from collections.abc import Callable, Iterator
from errno import EINVAL, EISDIR
from typing import NamedTuple, Protocol

from dcss.abi.console import Counters
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import utsname
from vmguest.block.genhd import BlockDevices
from vmguest.extmem import Extmem
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode, TextFile
from vmguest.fs.namei import Vfs
from vmguest.machine import VirtualMachine
from vmguest.module import Modules
from vmguest.storage import PREFIX_AREA_PAGES

_ROOT = 1


class ProcSource(Protocol):
    """What /proc shows of a kernel."""

    @property
    def command_line(self) -> str:
        """What the kernel was started with."""
        ...

    @property
    def machine(self) -> VirtualMachine:
        """Its machine, with real storage."""
        ...

    @property
    def extmem(self) -> Extmem:
        """Who has which absolute addresses."""
        ...

    @property
    def block_devices(self) -> BlockDevices:
        """Drivers and disks."""
        ...

    @property
    def vfs(self) -> Vfs:
        """Mounts and file-system types."""
        ...

    @property
    def modules(self) -> Modules:
        """The kernel and modules that were loaded from files."""
        ...

    def counters(self) -> Counters:
        """Return the guest's own account."""
        ...


class Memory(NamedTuple):
    """The guest's real storage, in bytes; pages of segments are not in it, since the guest has no copy of them."""

    total_bytes: int
    free_bytes: int
    buffer_bytes: int
    cached_bytes: int
    anonymous_bytes: int
    module_bytes: int


def memory(kernel: ProcSource) -> Memory:
    """Return how real storage is used; what is in no field is the kernel's own."""
    storage, counters = kernel.machine.storage, kernel.counters()
    return Memory(
        storage.size_bytes - PREFIX_AREA_PAGES * PAGE_SIZE,
        storage.free_bytes,
        counters.buffer_bytes,
        counters.page_cache_bytes,
        counters.anonymous_bytes,
        counters.module_bytes,
    )


def _cmdline(kernel: ProcSource) -> str:
    return f"{kernel.command_line}\n"


def _devices(kernel: ProcSource) -> str:
    drivers = "".join(f"{major:3} {name}\n" for major, name in kernel.block_devices.drivers)
    return f"Character devices:\n\nBlock devices:\n{drivers}"


def _filesystems(kernel: ProcSource) -> str:
    return "".join(f"{'' if kind.needs_device else 'nodev'}\t{kind.name}\n" for kind in kernel.vfs.types)


def _iomem(kernel: ProcSource) -> str:
    return "".join(f"{r.start:08x}-{r.end:08x} : {r.name}\n" for r in kernel.extmem.iomem)


def _meminfo(kernel: ProcSource) -> str:
    now, lru = memory(kernel), kernel.machine.page_lru
    fields = {
        "MemTotal": now.total_bytes,
        "MemFree": now.free_bytes,
        "Buffers": now.buffer_bytes,
        "Cached": now.cached_bytes,
        "Active(file)": lru.active_pages * PAGE_SIZE,
        "Inactive(file)": lru.inactive_pages * PAGE_SIZE,
        "Dirty": lru.dirty_pages * PAGE_SIZE,
        "AnonPages": now.anonymous_bytes,
        "VmallocUsed": now.module_bytes,
    }
    return "".join(f"{name + ':':15} {size_bytes >> 10:8} kB\n" for name, size_bytes in fields.items())


def _modules(kernel: ProcSource) -> str:
    return "".join(f"{m.name} {m.size_bytes} 0 - Live {m.address:#018x}\n" for m in kernel.modules)


def _mounts(kernel: ProcSource) -> str:
    return "".join(
        f"{m.source} {_escaped(m.at)} {m.file_system.type_name} {','.join(m.options)} 0 0\n" for m in kernel.vfs.mounts
    )


def _partitions(kernel: ProcSource) -> str:
    lines = [
        f"{major:4d}  {minor:7d} {disk.size_bytes >> 10:10d} {disk.name}\n"
        for disk in kernel.block_devices
        for major, minor in (disk.number,)
    ]
    return "".join(["major minor  #blocks  name\n\n", *lines]) if lines else ""


def _version(_kernel: ProcSource) -> str:
    return f"Linux version {utsname.RELEASE} {utsname.VERSION}\n"


def _vmstat(kernel: ProcSource) -> str:
    now, lru = memory(kernel), kernel.machine.page_lru
    fields = {
        "nr_free_pages": now.free_bytes // PAGE_SIZE,
        "nr_inactive_file": lru.inactive_pages,
        "nr_active_file": lru.active_pages,
        "nr_anon_pages": now.anonymous_bytes // PAGE_SIZE,
        "nr_file_pages": (now.cached_bytes + now.buffer_bytes) // PAGE_SIZE,
        "nr_dirty": lru.dirty_pages,
        "pgactivate": lru.activated,
        "pgdeactivate": lru.deactivated,
        "pgscan_direct": lru.scanned,
        "pgsteal_direct": lru.stolen,
    }
    return "".join(f"{name} {value}\n" for name, value in fields.items())


_FILES: tuple[tuple[bytes, Callable[[ProcSource], str]], ...] = (
    (b"cmdline", _cmdline),
    (b"devices", _devices),
    (b"filesystems", _filesystems),
    (b"iomem", _iomem),
    (b"meminfo", _meminfo),
    (b"modules", _modules),
    (b"mounts", _mounts),
    (b"partitions", _partitions),
    (b"version", _version),
    (b"vmstat", _vmstat),
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

    def __init__(self, kernel: ProcSource) -> None:
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
