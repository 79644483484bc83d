"""System calls on a program's memory."""

from errno import EEXIST, EFAULT, EINVAL, ENOMEM
from struct import Struct

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.fs.open import FileDescription
from vmguest.mm_area import PROT_EXEC, PROT_READ, PROT_WRITE, MappableFile
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.process import Thread
from vmguest.s390x.shared_memory import SharedMemory
from vmguest.s390x.space import TASK_SIZE
from vmguest.s390x.system import System

CALLS = CallGroup()
_MAP_SHARED, _MAP_PRIVATE, _MAP_SHARED_VALIDATE, _MAP_FIXED = 0x01, 0x02, 0x03, 0x10
_MAP_ANONYMOUS, _MAP_FIXED_NOREPLACE = 0x20, 0x100000
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_MADV_DONTNEED, _MADV_FREE = 4, 8
_MS_ASYNC, _MS_INVALIDATE, _MS_SYNC = 1, 2, 4
_PROTECTIONS = PROT_READ | PROT_WRITE | PROT_EXEC
_MMAP_BLOCK = Struct(">6Q")


@CALLS.add("address")
def brk(_system: System, thread: Thread, address: int) -> int:
    """Move the end of the heap."""
    return thread.process.space.set_break(address)


@CALLS.add("address")
def mmap(system: System, thread: Thread, block: int) -> int:
    """Map a file or memory; s390 passes the six parameters in storage."""
    process = thread.process
    space = process.space
    address, size_bytes, protection, flags, number, offset = _MMAP_BLOCK.unpack(space.read(block, _MMAP_BLOCK.size))
    if not size_bytes or offset % PAGE_SIZE:
        raise KernelError(EINVAL, f"mmap of {size_bytes} bytes at offset {offset}")
    if size_bytes > TASK_SIZE:
        raise KernelError(ENOMEM, f"mmap of {size_bytes} bytes")
    pages = hostmem.pages(size_bytes)
    kind = flags & 3
    if kind not in {_MAP_SHARED, _MAP_PRIVATE, _MAP_SHARED_VALIDATE}:
        raise KernelError(EINVAL, f"mmap flags {flags:#x}")
    shared = kind != _MAP_PRIVATE
    file: MappableFile | None = None
    memory: SharedMemory | None = None
    if not flags & _MAP_ANONYMOUS:
        file = process.files.get(_int(number))
    elif shared:
        file = memory = SharedMemory(system.kernel.machine.storage, pages)
    fixed = _place(thread, address, pages, flags)
    try:
        result = space.map(file, offset >> PAGE_SHIFT, pages, protection & _PROTECTIONS, shared=shared, address=fixed)
    finally:
        if memory is not None:
            memory.close()
    return result


def _place(thread: Thread, address: int, pages: int, flags: int) -> int | None:
    """Return where a mapping must go, or None for anywhere."""
    space = thread.process.space
    if flags & (_MAP_FIXED | _MAP_FIXED_NOREPLACE):
        first = address >> PAGE_SHIFT
        if flags & _MAP_FIXED_NOREPLACE and space.is_mapped(first, pages):
            raise KernelError(EEXIST, f"mmap at {address:#x}: something is mapped there")
        return address
    return space.find_gap(pages, hint=hostmem.pages(address)) << PAGE_SHIFT if address else None


def _int(number: int) -> int:
    return (number & 0xFFFF_FFFF) - (1 << 32 if number & 0x8000_0000 else 0)


def _range(address: int, size_bytes: int) -> tuple[int, int]:
    """Return a range as its first page and how many. Raises KernelError(EINVAL) where it begins within a page."""
    if address % PAGE_SIZE or address + size_bytes > TASK_SIZE:
        raise KernelError(EINVAL, f"address {address:#x}, {size_bytes} bytes")
    return address >> PAGE_SHIFT, hostmem.pages(size_bytes)


@CALLS.add("address", "size")
def munmap(_system: System, thread: Thread, address: int, size_bytes: int) -> int:
    """Unmap a range."""
    first, pages = _range(address, size_bytes)
    if not pages:
        raise KernelError(EINVAL, "munmap of nothing")
    thread.process.space.unmap_pages(first, pages)
    return 0


@CALLS.add("address", "size", "ulong")
def mprotect(_system: System, thread: Thread, address: int, size_bytes: int, protection: int) -> int:
    """Change what a range allows."""
    first, pages = _range(address, size_bytes)
    if protection & ~_PROTECTIONS:
        raise KernelError(EINVAL, f"mprotect: protection {protection:#x}")
    if pages:
        thread.process.space.protect(first, pages, protection)
    return 0


@CALLS.add("address", "size", "size", "ulong", "address")
def mremap(_system: System, thread: Thread, old: int, old_bytes: int, new_bytes: int, flags: int, target: int) -> int:
    """Make a mapping larger or smaller, perhaps elsewhere."""
    space = thread.process.space
    first, pages = _range(old, old_bytes)
    wanted = hostmem.pages(new_bytes)
    if not wanted or not pages or flags & ~3 or (flags & _MREMAP_FIXED and not flags & _MREMAP_MAYMOVE):
        raise KernelError(EINVAL, f"mremap of {old_bytes} to {new_bytes} bytes, flags {flags}")
    area = space.areas.find(first)
    if area is None or first + pages > area.end:
        raise KernelError(EFAULT, f"mremap at {old:#x}: no such mapping")
    if flags & _MREMAP_FIXED:
        new, _ = _range(target, new_bytes)
        if new < first + pages and first < new + wanted:
            raise KernelError(EINVAL, "mremap: the ranges overlap")
        space.unmap_pages(new, wanted)
    else:
        if wanted <= pages:
            space.unmap_pages(first + wanted, pages - wanted)
            return old
        if first + pages == area.end and not space.is_mapped(first + pages, wanted - pages):
            space.extend(area, wanted - pages)
            return old
        if not flags & _MREMAP_MAYMOVE:
            raise KernelError(ENOMEM, "mremap: no room behind the mapping")
        new = space.find_gap(wanted)
    kept = min(pages, wanted)
    if kept < pages:
        space.unmap_pages(first + kept, pages - kept)
    space.move(first, kept, new)
    if wanted > kept:
        moved = space.areas.find(new)
        assert moved is not None, "it was moved there"
        space.extend(moved, wanted - kept)
    return new << PAGE_SHIFT


@CALLS.add("address", "size", "int")
def madvise(_system: System, thread: Thread, address: int, size_bytes: int, advice: int) -> int:
    """Take advice on memory; what is not needed any more is given back."""
    first, pages = _range(address, size_bytes)
    space = thread.process.space
    if advice in {_MADV_DONTNEED, _MADV_FREE}:
        space.discard(first, pages)
    if pages and not space.is_mapped(first, pages):
        raise KernelError(ENOMEM, f"madvise at {address:#x}: nothing is mapped there")
    return 0


@CALLS.add("address", "size", "address")
def mincore(_system: System, thread: Thread, address: int, size_bytes: int, vector: int) -> int:
    """Tell which pages are present."""
    first, pages = _range(address, size_bytes)
    space = thread.process.space
    page = first
    while page < first + pages:
        area = space.areas.find(page)
        if area is None:
            raise KernelError(ENOMEM, f"mincore at {page << PAGE_SHIFT:#x}: nothing is mapped there")
        page = area.end
    for start in range(0, pages, PAGE_SIZE):  # a range may be larger than what can be stored about it
        space.write(vector + start, b"\1" * min(pages - start, PAGE_SIZE))
    return 0


@CALLS.add("address", "size", "int")
def msync(_system: System, thread: Thread, address: int, size_bytes: int, flags: int) -> int:
    """Have files hold what was stored through shared mappings; with MS_SYNC their devices, too."""
    if flags & ~(_MS_ASYNC | _MS_INVALIDATE | _MS_SYNC) or (flags & _MS_ASYNC and flags & _MS_SYNC):
        raise KernelError(EINVAL, f"msync: flags {flags}")
    first, pages = _range(address, size_bytes)
    space, page = thread.process.space, first
    space.write_back_shared()
    while page < first + pages:
        area = space.areas.find(page)
        if area is None:
            raise KernelError(ENOMEM, f"msync at {page << PAGE_SHIFT:#x}: nothing is mapped there")
        if flags & _MS_SYNC and area.shared and isinstance(area.file, FileDescription):
            area.file.fsync()
        page = area.end
    return 0


@CALLS.add("address", "size")
def mlock(_system: System, _thread: Thread, _address: int, _size: int) -> int:
    """Keep memory from being paged out: nothing ever is."""
    return 0


@CALLS.add("address", "size")
def munlock(_system: System, _thread: Thread, _address: int, _size: int) -> int:
    """End that."""
    return 0
