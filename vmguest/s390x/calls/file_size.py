"""The largest size that a process gives files: RLIMIT_FSIZE (generic_write_check_limits, inode_newsize_ok)."""

from errno import EFBIG
from typing import NoReturn

from dcss.errors import KernelError
from vmguest.fs.open import O_APPEND, FileDescription
from vmguest.s390x.process import RLIMIT_FSIZE, Thread
from vmguest.s390x.signals import SIGXFSZ, SignalInfo
from vmguest.s390x.system import System


def writable_bytes(
    system: System, thread: Thread, file: FileDescription, position: int | None, wanted_bytes: int
) -> int:
    """Return how much a program may write at a position of a file, None for where it is: what its limit has room for.

    Raises KernelError(EFBIG), after SIGXFSZ was sent, where that is nothing.
    """
    limit = thread.process.limits.get(RLIMIT_FSIZE)
    if limit is None or not wanted_bytes or not file.dentry.inode.is_regular:
        return wanted_bytes
    start = file.file.size_bytes if file.flags & O_APPEND else file.position if position is None else position
    if start >= limit[0]:
        _refuse(system, thread, start, limit[0])
    return min(wanted_bytes, limit[0] - start)


def check_new_size(system: System, thread: Thread, old_bytes: int, new_bytes: int) -> None:
    """Allow a file to become smaller, or to grow up to the limit. Raises KernelError(EFBIG), after SIGXFSZ was sent."""
    limit = thread.process.limits.get(RLIMIT_FSIZE)
    if limit is not None and new_bytes > max(old_bytes, limit[0]):
        _refuse(system, thread, new_bytes, limit[0])


def _refuse(system: System, thread: Thread, size_bytes: int, limit_bytes: int) -> NoReturn:
    process = thread.process
    system.delivery.send(process, SignalInfo.sent(SIGXFSZ, process.pid, process.credentials.uid), thread)
    raise KernelError(EFBIG, f"{size_bytes} bytes: RLIMIT_FSIZE is {limit_bytes}")
