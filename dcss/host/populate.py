"""Make the pages of a mapping present without a load, which is answered by SIGBUS where its file was cut short."""

import ctypes
import os
from errno import EFAULT

_MADV_POPULATE_READ = 22  # asm-generic/mman-common.h, since Linux 5.14
_READ_BYTES = 4 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def populate(address: int, size_bytes: int) -> None:
    """Have this process's page table name every frame of a mapping, as far as what backs it reaches."""
    # ctypes gives the interpreter's lock up meanwhile; MAP_POPULATE of CPython's mmap keeps it, 100 ms for 512 MiB.
    if not _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), _MADV_POPULATE_READ):
        return
    if ctypes.get_errno() == EFAULT:  # where a load would be answered by SIGBUS
        return
    # An older kernel: reading by way of /proc makes pages present, too, and is refused instead of a signal.
    buffer = bytearray(_READ_BYTES)
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for offset_bytes in range(0, size_bytes, len(buffer)):
            part = memoryview(buffer)[: size_bytes - offset_bytes]
            try:
                os.preadv(memory.fileno(), [part], address + offset_bytes)
            except OSError:
                return
