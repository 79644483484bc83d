"""A file's bytes in this process's memory, read-only, and huge pages for them.

Source of what the kernel does: mm/khugepaged.c and mm/shmem.c of Linux. MADV_COLLAPSE (6.1) makes huge pages of what a
tmpfs holds whatever its mount option `huge=` says, unless shmem_enabled is deny. It needs no privilege.
"""

import ctypes
import mmap
import os
import weakref
from errno import EAGAIN, EBUSY, EINVAL, ENOMEM

from dcss.abi.page import PAGE_SIZE
from dcss.host.populate import populate

HUGE_PAGE_BYTES = 2 << 20
_PROT_NONE = 0
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_MADV_NOHUGEPAGE = 15
_MADV_POPULATE_WRITE = 23  # Linux 5.14
_MADV_COLLAPSE = 25  # Linux 6.1
_FOR_NOW = (EAGAIN, EBUSY, ENOMEM)  # madvise(2): a page was in use, or memory was in pieces; another try may succeed
_TRIES = 4
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_mmap.restype = ctypes.c_void_p
_munmap = _libc.munmap
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_madvise = _libc.madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class FileMapping:
    """All bytes of a file, shared, from an address on that huge pages can map.

    It keeps the open file that it is made from, with its locks, until `close` and the end of the last view of it.
    Raises OSError.
    """

    __slots__ = ("address", "size_bytes", "view")

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.address = _map_aligned(descriptor, size_bytes, mmap.PROT_READ)
        memory = (ctypes.c_char * size_bytes).from_address(self.address)
        # The end of the process unmaps it anyway, and a view may be in use until then.
        weakref.finalize(memory, _munmap, self.address, size_bytes).atexit = False
        self.view = memoryview(memory).toreadonly().cast("B")

    def populate(self) -> None:
        """Have this process's page table name every frame."""
        populate(self.address, self.size_bytes)

    def close(self) -> None:
        """Give up the view."""
        self.view.release()


def reserve_pages(descriptor: int, mapping: FileMapping, *, huge: bool) -> None:
    """Give a file of a tmpfs all its pages, as huge ones or, as far as that can be had, as small ones.

    The file has its size and no pages yet. Raises OSError where there is no room.
    """
    if huge:
        for offset_bytes in range(0, mapping.size_bytes - HUGE_PAGE_BYTES + 1, HUGE_PAGE_BYTES):
            os.pwrite(descriptor, b"\0", offset_bytes)  # from one page a huge one can be made, from none it cannot
        collapse(mapping)
    else:
        _avoid_huge_pages(descriptor, mapping)
    os.posix_fallocate(descriptor, 0, mapping.size_bytes)  # a full tmpfs shows here, not as SIGBUS later


def collapse(mapping: FileMapping) -> int:
    """Make huge pages of what is mapped wherever that fills one; return 0, or the errno of what was not possible."""
    if mapping.size_bytes < HUGE_PAGE_BYTES:
        return EINVAL
    errno = 0
    for _ in range(_TRIES):
        errno = ctypes.get_errno() if _madvise(mapping.address, mapping.size_bytes, _MADV_COLLAPSE) else 0
        if errno not in _FOR_NOW:
            break
    return errno


def _avoid_huge_pages(descriptor: int, mapping: FileMapping) -> None:
    """Have pages allocated by way of a mapping that wants none, on a tmpfs where a write would allocate huge ones."""
    address = _map_aligned(descriptor, mapping.size_bytes, mmap.PROT_READ | mmap.PROT_WRITE)
    _madvise(address, mapping.size_bytes, _MADV_NOHUGEPAGE)
    _madvise(address, mapping.size_bytes, _MADV_POPULATE_WRITE)
    _munmap(address, mapping.size_bytes)
    _madvise(mapping.address, mapping.size_bytes, _MADV_NOHUGEPAGE)  # nor does khugepaged make any for this process


def _map_aligned(descriptor: int, size_bytes: int, protection: int) -> int:
    """Map a file from a boundary of huge pages on; return its address."""
    length_bytes = -(-size_bytes // PAGE_SIZE) * PAGE_SIZE
    reserved_bytes = length_bytes + HUGE_PAGE_BYTES
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    reserved = _checked(_mmap(None, reserved_bytes, _PROT_NONE, flags, -1, 0), size_bytes)
    address = reserved + -reserved % HUGE_PAGE_BYTES
    try:
        _checked(_mmap(address, length_bytes, protection, mmap.MAP_SHARED | _MAP_FIXED, descriptor, 0), size_bytes)
    except BaseException:
        _munmap(reserved, reserved_bytes)
        raise
    if address > reserved:
        _munmap(reserved, address - reserved)
    _munmap(address + length_bytes, reserved + reserved_bytes - address - length_bytes)
    return address


def _checked(address: int | None, size_bytes: int) -> int:
    if address is None or address == _FAILED:
        errno = ctypes.get_errno()
        raise OSError(errno, f"mmap of {size_bytes} bytes: {os.strerror(errno)}")
    return address
