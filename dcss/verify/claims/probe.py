"""The throw-away child of claim 4: tries to change a segment through an inherited descriptor, in every way it knows.

Run as a file: `python -I -S probe.py DESCRIPTOR SIZE_BYTES`. It prints a JSON object: for each try "refused: ..." as
wanted, or what happened instead; then it stores through a read-only mapping and should die of SIGSEGV. Every try
writes back what is there, so a try that gets through changes nothing.
"""

import ctypes
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from errno import EACCES, EBADF, EINVAL, EPERM

_FAILED = ctypes.c_void_p(-1).value
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def _map(descriptor: int, protection: int) -> int:
    address: int | None = _libc.mmap(None, mmap.PAGESIZE, protection, mmap.MAP_SHARED, descriptor, 0)
    if address is None or address == _FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    return address


def _attempt(call: Callable[[], object], *wanted: int) -> str:
    try:
        call()
    except OSError as error:
        name = os.strerror(error.errno or 0)
        return f"refused: {name}" if error.errno in wanted else f"failed otherwise: {name}"
    return "was allowed"


def _mprotect(address: int) -> None:
    if _libc.mprotect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


def probe(descriptor: int, size_bytes: int) -> dict[str, str]:
    """Return what became of each try but the store."""
    # Whatever gets through writes what was there before.
    first = os.pread(descriptor, 1, 0)
    address = _map(descriptor, mmap.PROT_READ)
    return {
        "mprotect to write": _attempt(lambda: _mprotect(address), EACCES),
        "a writable shared mapping": _attempt(lambda: _map(descriptor, mmap.PROT_READ | mmap.PROT_WRITE), EACCES),
        "pwrite": _attempt(lambda: os.pwrite(descriptor, first, 0), EBADF),
        "ftruncate": _attempt(lambda: os.ftruncate(descriptor, size_bytes), EINVAL, EBADF, EPERM),
        "fallocate": _attempt(lambda: os.posix_fallocate(descriptor, 0, 1), EBADF, EPERM),
    }


def store(descriptor: int) -> None:
    """Store into a mapping made for reading; does not return where that is refused."""
    # It is meant to die: no core file, no report of an interpreter.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    address = _map(descriptor, mmap.PROT_READ)
    ctypes.memset(address, ctypes.c_ubyte.from_address(address).value, 1)


if __name__ == "__main__":
    # As JSON, of words without quotes; to import json takes as long as all that is tried here.
    outcomes = [f'"{way}": "{end}"' for way, end in probe(int(sys.argv[1]), int(sys.argv[2])).items()]
    print("{" + ", ".join(outcomes) + "}", flush=True)
    store(int(sys.argv[1]))
