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
from vmguest.fs.file import FileOperations
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode, TextFile
from vmguest.fs.namei import Vfs
from vmguest.machine import VirtualMachine
from vmguest.module import Modules
from vmguest.storage import PREFIX_AREA_PAGES

ROOT = 1


class ProcPart(Protocol):
    """Files in /proc of which the kernel alone knows nothing, as those of processes, under inode numbers of its own."""

    def names(self, directory: int) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers of a directory, also of the root; none of one that is not its own."""
        ...

    def inode(self, number: int) -> SimpleInode | None:
        """Return an inode, None for one that is not its own. Raises KernelError(ENOENT)."""
        ...

    def readlink(self, number: int) -> bytes:
        """Return where a link leads. Raises KernelError(ENOENT)."""
        ...

    def open(self, number: int) -> FileOperations:
        """Open a file: most have a text, which is made now. Raises KernelError(ENOENT)."""
        ...


class ProcSource(Protocol):
    """What /proc shows of a kernel."""

    @property
    def proc_parts(self) -> "list[ProcPart]":
        """What has more files in /proc; none in a guest without programs."""
        ...

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


def meminfo_text(kernel: ProcSource) -> str:
    """Return /proc/meminfo."""
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


def mounts_text(vfs: Vfs) -> str:
    """Return /proc/mounts: all mounts, also those that others cover, in the order in which they were made."""
    return "".join(
        f"{m.source} {escaped(m.at)} {m.file_system.type_name} {','.join(m.options)} 0 0\n" for m in vfs.mounts
    )


def _mounts(kernel: ProcSource) -> str:
    return mounts_text(kernel.vfs)


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
    (b"meminfo", meminfo_text),
    (b"modules", _modules),
    (b"mounts", _mounts),
    (b"partitions", _partitions),
    (b"version", _version),
    (b"vmstat", _vmstat),
)
NAMES = {name: number for number, (name, _) in enumerate(_FILES, ROOT + 1)}


def escaped(path: bytes) -> str:
    """Return a path as seq_path() prints it: what would end a field is octal."""
    text = path.decode(errors="surrogateescape")
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in text)


class ProcFileSystem(SimpleFileSystem):
    """The mounted /proc of one guest kernel; what its `proc_parts` show comes beside its own files, or instead."""

    type_name = source = "proc"
    root = ROOT
    options: tuple[str, ...] = ("ro",)
    device_number = (0, 2)
    writer = None

    def __init__(self, kernel: ProcSource) -> None:
        self._kernel = kernel

    def inode(self, number: int) -> SimpleInode:
        """Return an inode."""
        if number == ROOT:
            return SimpleInode(number, stat.S_IFDIR | 0o555, links_count=2)
        for part in self._kernel.proc_parts:
            if (found := part.inode(number)) is not None:
                return found
        return SimpleInode(number, stat.S_IFREG | 0o444)

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:
        """Return the inode number of a name, or None."""
        if not directory.is_dir:
            return None
        if directory.number == ROOT and not self._kernel.proc_parts:
            return NAMES.get(name)
        return dict(self.names(directory)).get(name)

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers."""
        if not directory.is_dir:
            return
        names = dict(NAMES) if directory.number == ROOT else {}
        for part in self._kernel.proc_parts:
            names.update(part.names(directory.number))
        yield from names.items()

    def readlink(self, inode: VfsInode) -> bytes:
        """Return where a link leads. Raises KernelError: EINVAL no link, ENOENT what it leads to is gone."""
        if not inode.is_symlink:
            raise KernelError(EINVAL, f"inode {inode.number}: not a symbolic link")
        return self._part_of(inode).readlink(inode.number)

    def open(self, inode: VfsInode) -> FileOperations:
        """Open a file, whose text is made now. Raises KernelError: EISDIR for a directory, ENOENT for what is gone."""
        if inode.is_dir:
            raise KernelError(EISDIR, "/proc: is a directory")
        if inode.number <= ROOT + len(_FILES):
            _, text_of = _FILES[inode.number - ROOT - 1]
            return TextFile(text_of(self._kernel).encode(errors="surrogateescape"))
        return self._part_of(inode).open(inode.number)

    def _part_of(self, inode: VfsInode) -> ProcPart:
        return next(part for part in self._kernel.proc_parts if part.inode(inode.number) is not None)
