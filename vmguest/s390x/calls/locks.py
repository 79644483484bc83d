"""System calls that lock files: flock, and the record locks of fcntl (fs/locks.c)."""

import struct
from errno import EAGAIN, EBADF, EINVAL, EOVERFLOW
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.locks import F_RDLCK, F_UNLCK, F_WRLCK, NO_PROCESS, TO_END, RecordLock, WholeLock, locks_of
from vmguest.fs.open import O_ACCMODE, O_RDONLY, O_WRONLY, SEEK_CUR, SEEK_END, SEEK_SET, FileDescription
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.system import System

CALLS = CallGroup()
_F_GETLK, _F_SETLK, _F_SETLKW = 5, 6, 7
_F_OFD_GETLK, _F_OFD_SETLK, _F_OFD_SETLKW = 36, 37, 38
RECORD_LOCKS: Final = frozenset({_F_GETLK, _F_SETLK, _F_SETLKW, _F_OFD_GETLK, _F_OFD_SETLK, _F_OFD_SETLKW})
_OF_OPEN_FILES: Final = frozenset({_F_OFD_GETLK, _F_OFD_SETLK, _F_OFD_SETLKW})
_ASK: Final = frozenset({_F_GETLK, _F_OFD_GETLK})
_WAIT: Final = frozenset({_F_SETLKW, _F_OFD_SETLKW})
_FLOCK = struct.Struct(">hh4xqqi4x")  # type, whence, start, length, process
_KIND = struct.Struct(">h")
_LOCK_SH, _LOCK_EX, _LOCK_NB, _LOCK_UN = 1, 2, 4, 8


@CALLS.add("fd", "int")
def flock(system: System, thread: Thread, number: int, operation: int) -> int:
    """Lock a file as a whole, for an open file and all its descriptors; a lock of another kind is given up first."""
    opened = thread.process.files.get(number)
    locks, file, kind = locks_of(system.vfs), opened.dentry, operation & ~_LOCK_NB
    if kind == _LOCK_UN:
        locks.clear_whole(file, opened)
        return 0
    if kind not in {_LOCK_SH, _LOCK_EX}:
        raise KernelError(EINVAL, f"flock {operation}: wanted LOCK_SH, LOCK_EX or LOCK_UN")
    wanted = WholeLock(kind == _LOCK_EX, thread.process.pid)
    try:
        locks.set_whole(file, opened, wanted)
    except KernelError as error:
        if operation & _LOCK_NB:
            raise
        raise WaitError(lambda: not locks.whole_conflict(file, opened, wanted)) from error
    return 0


def record_lock(system: System, thread: Thread, opened: FileDescription, command: int, address: int) -> int:
    """Lock bytes of a file, or ask who has them locked (fcntl_setlk, fcntl_getlk).

    Raises WaitError; KernelError: EAGAIN, EBADF not open for that, EDEADLK, EFAULT, EINVAL, EOVERFLOW.
    """
    space, locks, file = thread.process.space, locks_of(system.vfs), opened.dentry
    wanted = _wanted(thread, opened, command, space.read(address, _FLOCK.size))
    if command in _ASK:
        if wanted.kind == F_UNLCK:
            raise KernelError(EINVAL, "F_GETLK: wanted F_RDLCK or F_WRLCK")
        found = locks.conflict(file, wanted)
        if found is None:
            space.write(address, _KIND.pack(F_UNLCK))
        else:
            size_bytes = 0 if found.end == TO_END else found.end - found.start + 1
            space.write(address, _FLOCK.pack(found.kind, SEEK_SET, found.start, size_bytes, found.pid))
        return 0
    access = opened.flags & O_ACCMODE
    if (wanted.kind == F_RDLCK and access == O_WRONLY) or (wanted.kind == F_WRLCK and access == O_RDONLY):
        raise KernelError(EBADF, "a lock for reading or writing is for files that are open for that")
    try:
        locks.set_record(file, wanted)
    except KernelError as error:
        if error.errno != EAGAIN or command not in _WAIT:
            raise
        locks.begin_wait(thread, file, wanted)
        thread.withdraw = lambda: locks.end_wait(thread)
        raise WaitError(lambda: locks.conflict(file, wanted) is None) from error
    return 0


def _wanted(thread: Thread, opened: FileDescription, command: int, packed: bytes) -> RecordLock:
    """Return the lock that struct flock describes (flock64_to_posix_lock)."""
    kind, whence, start, size_bytes, pid = _FLOCK.unpack(packed)
    if kind not in {F_RDLCK, F_WRLCK, F_UNLCK} or whence not in {SEEK_SET, SEEK_CUR, SEEK_END}:
        raise KernelError(EINVAL, f"lock of kind {kind}, whence {whence}")
    of_open_file = command in _OF_OPEN_FILES
    if of_open_file and pid:
        raise KernelError(EINVAL, f"lock of an open file with process {pid}, wanted 0")
    start += (0, opened.position, opened.file.size_bytes)[whence]
    if start > TO_END:
        raise KernelError(EOVERFLOW, f"lock from byte {start} on")
    end = start + size_bytes - 1 if size_bytes > 0 else start - 1 if size_bytes else TO_END
    if size_bytes < 0:
        start += size_bytes
    if start < 0:
        raise KernelError(EINVAL, f"lock from byte {start} on")
    if end > TO_END:
        raise KernelError(EOVERFLOW, f"lock to byte {end}")
    if of_open_file:
        return RecordLock(opened, kind, start, end, NO_PROCESS)
    return RecordLock(thread.process.files, kind, start, end, thread.process.pid)
