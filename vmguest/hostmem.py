"""The host memory under a guest: a reserved window for absolute storage, a user area, mappings made MAP_FIXED in them.

Nothing here knows segments or files. Addresses are host addresses, sizes are bytes and whole pages. All functions raise
KernelError, an OSError with the host kernel's errno.
"""

import ctypes
import mmap
import os
from array import array
from collections.abc import Callable, Iterable
from errno import ENOMEM
from time import monotonic_ns
from typing import NamedTuple

from dcss.abi.extmem import MAX_DCSS_ADDR
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError

PROT_NONE = 0
MAP_FIXED = 0x10
MAP_NORESERVE = 0x4000
# Not memoryview((c_char * n).from_address(...)): that makes a type for each n, which costs a guest copied pages.
_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)
_view.restype = ctypes.py_object
_PYBUF_WRITE = 0x200
MADV_DONTNEED = 4
_MADV_DONTFORK, _MADV_DOFORK = 10, 11
MADV_NOHUGEPAGE = 15
_MADV_POPULATE_READ = 22
USER_AREA_BYTES = 2 * MAX_DCSS_ADDR  # one half shows absolute storage: vmguest.user_area
MODULE_AREA_BYTES = 2 << 30  # MODULES_LEN of s390
_BOUNDARY_BYTES = 1 << 30  # huge pages need 2 MiB; up to here, fewer page tables suffice
_SPLIT_MAPPINGS = 4  # a mapping that is put into another one makes up to two more
_FAILED = ctypes.c_void_p(-1).value
_MMAP_ARGUMENTS = 6

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.mmap.restype = ctypes.c_void_p
_mmap: Callable[..., int | None] = _libc.mmap
_madvise = _libc.madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Reservation(NamedTuple):
    """Host addresses that are a guest's own. The fork server reserves them, so they are the same in every guest."""

    window: int
    window_bytes: int
    user_area: int
    user_area_bytes: int
    module_area: int
    module_area_bytes: int

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The address and the bytes of each range."""
        return self[:2], self[2:4], self[4:]


class ObjectMapping(NamedTuple):
    """Bytes of a shared memory object at an address; with `populate` every page is present from the start."""

    address: int
    size_bytes: int
    descriptor: int
    offset: int
    writable: bool
    private: bool
    populate: bool

    def arguments(self) -> tuple[int, int, int, int, int, int]:
        """Return the arguments of mmap(2) in its order."""
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if self.writable else 0)
        flags = (mmap.MAP_PRIVATE if self.private else mmap.MAP_SHARED) | MAP_FIXED
        if self.populate:
            flags |= mmap.MAP_POPULATE
        return self.address, self.size_bytes, protection, flags, self.descriptor, self.offset

    def map(self) -> None:
        """Map them."""
        address, size_bytes, protection, flags, descriptor, offset = self.arguments()
        _map(address, size_bytes, protection, flags, descriptor=descriptor, offset=offset)


def note_present(note: Callable[[int], None]) -> None:
    """Have `note` called after each mapping whose pages are made present, with when that began (monotonic, in ns)."""
    global _mmap  # noqa: PLW0603 - so that it costs nothing where it is not asked for
    plain = _mmap

    def noted(*arguments: int | None) -> int | None:
        begin_ns = monotonic_ns()
        address = plain(*arguments)
        if (arguments[3] or 0) & mmap.MAP_POPULATE:
            note(begin_ns)
        return address

    _mmap = noted


def _map(
    address: int | None, size_bytes: int, protection: int, flags: int, *, descriptor: int = -1, offset: int = 0
) -> int:
    result: int | None = _mmap(address, size_bytes, protection, flags, descriptor, offset)
    if result is None or result == _FAILED:
        errno = ctypes.get_errno()
        where = "anywhere" if address is None else f"at {address:#x}"
        raise KernelError(errno, f"mmap of {size_bytes} bytes {where}: {os.strerror(errno)}{_limit_reached(errno)}")
    return result


def _limit_reached(errno: int) -> str:
    """Return the words that tell of vm.max_map_count where that is what mmap ran into."""
    if errno != ENOMEM:
        return ""
    try:
        with open("/proc/sys/vm/max_map_count", "rb") as setting, open("/proc/self/maps", "rb") as maps:
            limit, mappings = int(setting.read()), sum(1 for _ in maps)
    except OSError:
        return ""
    if mappings < limit - _SPLIT_MAPPINGS:
        return ""
    return (
        f" (this process has {mappings} mappings, and vm.max_map_count is {limit}: let the guest map fewer or less"
        f" scattered files, or raise it: sysctl -w vm.max_map_count={4 * limit})"
    )


def reserve() -> Reservation:
    """Reserve address space for the window (absolute addresses 0 to 512 GiB) and the two areas; no memory is used."""
    sizes_bytes = MAX_DCSS_ADDR, USER_AREA_BYTES, MODULE_AREA_BYTES
    window, user_area, module_area = map(_reserve, sizes_bytes)
    return Reservation(window, sizes_bytes[0], user_area, sizes_bytes[1], module_area, sizes_bytes[2])


def _reserve(size_bytes: int) -> int:
    """Reserve addresses from a boundary on, and return the first; those before the boundary stay reserved, too."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    address = _map(None, size_bytes + _BOUNDARY_BYTES, PROT_NONE, flags)
    return address + -address % _BOUNDARY_BYTES


def map_storage(address: int, size_bytes: int) -> None:
    """Put private anonymous memory at `address`; untouched pages cost nothing, and touched ones are 4 KiB each."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
    _map(address, size_bytes, mmap.PROT_READ | mmap.PROT_WRITE, flags)
    _madvise(address, size_bytes, MADV_NOHUGEPAGE)  # refused where the kernel has no huge pages: then there is no need


def map_object(
    address: int, size_bytes: int, descriptor: int, offset: int, *, writable: bool, private: bool, populate: bool
) -> None:
    """Map bytes of a shared memory object at `address`; with `populate` every page is present on return."""
    ObjectMapping(address, size_bytes, descriptor, offset, writable, private, populate).map()


def map_zeros(address: int, size_bytes: int) -> None:
    """Map a read-only run of zeros: every page is the kernel's one zero page once it is read."""
    # Not populated: the page tables of a sparse file of 64 GiB are 128 MiB, and none of its holes need ever be read.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
    _map(address, size_bytes, mmap.PROT_READ, flags)
    _madvise(address, size_bytes, MADV_NOHUGEPAGE)


def make_present(address: int, size_bytes: int) -> None:
    """Have the host map every page of readable memory, as reading a byte of each would."""
    if _madvise(address, size_bytes, _MADV_POPULATE_READ) != 0:  # Linux before 5.14 has no such advice
        view(address, size_bytes)[::PAGE_SIZE].tobytes()


def restore_presence(address: int, size_bytes: int) -> None:
    """Have the host map the pages again that it gave up with a huge page; what is not mapped there stays so."""
    _madvise(address, size_bytes, _MADV_POPULATE_READ)


def discard(address: int, size_bytes: int) -> None:
    """Give the pages of private anonymous memory back to the host; they read as zeros from now on."""
    _advise(address, size_bytes, MADV_DONTNEED)


def withhold(address: int, size_bytes: int, *, withheld: bool) -> None:
    """Have a process that is forked from this one not get the memory, nor its addresses; or have it get them again."""
    _advise(address, size_bytes, _MADV_DONTFORK if withheld else _MADV_DOFORK)


def refuse_huge_pages(address: int, size_bytes: int) -> None:
    """Have what is touched of the memory lie in small pages; nothing happens where the host has no huge ones."""
    _madvise(address, size_bytes, MADV_NOHUGEPAGE)


def _advise(address: int, size_bytes: int, advice: int) -> None:
    if _madvise(address, size_bytes, advice) != 0:
        errno = ctypes.get_errno()
        raise KernelError(errno, f"madvise of {size_bytes} bytes at {address:#x}: {os.strerror(errno)}")


def joined_mappings(mappings: Iterable[ObjectMapping]) -> list[ObjectMapping]:
    """Return mappings by address; those that adjoin and show what adjoins are made one."""
    joined: list[ObjectMapping] = []
    for mapping in sorted(mappings):
        before = joined[-1] if joined else None
        if before is not None and mapping == before._replace(
            address=before.address + before.size_bytes,
            offset=before.offset + before.size_bytes,
            size_bytes=mapping.size_bytes,
        ):
            joined[-1] = before._replace(size_bytes=before.size_bytes + mapping.size_bytes)
        else:
            joined.append(mapping)
    return joined


def pack_mappings(mappings: Iterable[ObjectMapping]) -> "array[int]":
    """Return the arguments of mmap(2) for all mappings, one behind the other."""
    return array("Q", (number for mapping in mappings for number in mapping.arguments()))


def map_packed(packed: "array[int]") -> None:
    """Make the mappings that `pack_mappings` packed: numbers in an array are no objects that a guest would copy."""
    index, end = 0, len(packed)
    while index < end:
        address = packed[index]
        if (
            _mmap(
                address,
                packed[index + 1],
                packed[index + 2],
                packed[index + 3],
                packed[index + 4],
                packed[index + 5],
            )
            != address
        ):
            size_bytes, errno = packed[index + 1], ctypes.get_errno()
            raise KernelError(errno, f"mmap of {size_bytes} bytes at {address:#x}: {os.strerror(errno)}")
        index += _MMAP_ARGUMENTS


def unmap(address: int, size_bytes: int) -> None:
    """Give the memory back and keep the addresses reserved."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
    _map(address, size_bytes, PROT_NONE, flags)


def view(address: int, size_bytes: int) -> memoryview:
    """Return a writable view of mapped memory; the caller keeps it from outliving the mapping."""
    result: memoryview = _view(address, size_bytes, _PYBUF_WRITE)
    return result


def copy(target: int, source: int, size_bytes: int) -> None:
    """Copy mapped bytes between two host addresses, in one call however many pages they are."""
    ctypes.memmove(target, source, size_bytes)


def clear(address: int, size_bytes: int) -> None:
    """Zero mapped bytes, in one call however many pages they are."""
    ctypes.memset(address, 0, size_bytes)


def pages(size_bytes: int) -> int:
    """Return how many pages hold `size_bytes`."""
    return -(-size_bytes // PAGE_SIZE)
