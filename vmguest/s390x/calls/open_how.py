"""System calls that open a file by `struct open_how`."""

from errno import E2BIG, EAGAIN, EINVAL
from struct import Struct

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.fs.open import O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TRUNC
from vmguest.fs.open_special import TMPFILE_BIT
from vmguest.fs.scope import RESOLVE_ALL, RESOLVE_BENEATH, RESOLVE_CACHED, RESOLVE_IN_ROOT, Scope
from vmguest.s390x.calls.files import open_named
from vmguest.s390x.calls.paths import place_of
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_HOW = Struct(">3Q")  # flags, mode, resolve
_ALL_FLAGS = 0o37777703  # VALID_OPEN_FLAGS
_OF_PATH = O_PATH | O_DIRECTORY | O_NOFOLLOW | 0o2000000
_MAKES = O_CREAT | TMPFILE_BIT


@CALLS.add("at", "path", "address", "size")
def openat2(system: System, thread: Thread, directory: int, path: int, how: int, size_bytes: int) -> int:
    """Open a file, by a path that leads only so far."""
    flags, mode, wanted = _read_how(thread, how, size_bytes)
    process = thread.process
    name = process.space.string(path)
    top = place_of(process, directory, name.lstrip(b"/") if wanted & RESOLVE_IN_ROOT else name)
    vfs = system.vfs
    vfs.scope = Scope(top, wanted) if wanted & ~RESOLVE_CACHED else None
    try:
        return open_named(system, thread, name, flags, top, mode)
    finally:
        vfs.scope = None


def _read_how(thread: Thread, address: int, size_bytes: int) -> tuple[int, int, int]:
    """Return flags, mode and how far the path may lead. Raises KernelError: EINVAL, E2BIG, EAGAIN."""
    if size_bytes < _HOW.size:
        raise KernelError(EINVAL, f"openat2 with a structure of {size_bytes} bytes, wanted {_HOW.size}")
    if size_bytes > PAGE_SIZE:
        raise KernelError(E2BIG, f"openat2 with a structure of {size_bytes} bytes")
    packed = thread.process.space.read(address, size_bytes)
    if any(packed[_HOW.size :]):
        raise KernelError(E2BIG, "openat2 with a structure that has more than is known")
    flags, mode, wanted = _HOW.unpack_from(packed)
    if (
        flags & ~_ALL_FLAGS
        or wanted & ~RESOLVE_ALL
        or (wanted & RESOLVE_BENEATH and wanted & RESOLVE_IN_ROOT)
        or mode & ~(0o7777 if flags & _MAKES else 0)
        or (flags & O_PATH and flags & ~_OF_PATH)
    ):
        raise KernelError(EINVAL, f"openat2 with flags {flags:#o}, mode {mode:#o} and resolve {wanted:#x}")
    if wanted & RESOLVE_CACHED and flags & (_MAKES | O_TRUNC):
        raise KernelError(EAGAIN, f"openat2 with RESOLVE_CACHED and flags {flags:#o}")
    return flags, mode, wanted
