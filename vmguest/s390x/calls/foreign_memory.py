"""System calls on the memory of another process (mm/process_vm_access.c)."""

from errno import EINVAL, EPERM, ESRCH

from dcss.errors import KernelError
from vmguest.s390x.calls.files import MOST_BYTES, read_vector
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.process import Thread
from vmguest.s390x.space import FaultError, UserSpace
from vmguest.s390x.system import System

CALLS = CallGroup()
Parts = list[tuple[int, int]]
_PIECE_BYTES = 1 << 16


@CALLS.add("pid", "address", "ulong", "address", "ulong", "ulong")
def process_vm_readv(
    system: System, thread: Thread, pid: int, local: int, locals_: int, remote: int, remotes: int, flags: int
) -> int:
    """Copy from another process's memory."""
    mine, theirs = _vectors(thread, local, locals_, remote, remotes, flags)
    other = _space_of(system, thread, pid)
    return _copy(thread.process.space, mine, other, theirs, read=True)


@CALLS.add("pid", "address", "ulong", "address", "ulong", "ulong")
def process_vm_writev(
    system: System, thread: Thread, pid: int, local: int, locals_: int, remote: int, remotes: int, flags: int
) -> int:
    """Copy to another process's memory."""
    mine, theirs = _vectors(thread, local, locals_, remote, remotes, flags)
    other = _space_of(system, thread, pid)
    return _copy(thread.process.space, mine, other, theirs, read=False)


def _vectors(thread: Thread, local: int, locals_: int, remote: int, remotes: int, flags: int) -> tuple[Parts, Parts]:
    if flags:
        raise KernelError(EINVAL, f"process_vm_readv or process_vm_writev with flags {flags:#x}")
    return read_vector(thread, local, locals_), read_vector(thread, remote, remotes)


def _space_of(system: System, thread: Thread, pid: int) -> UserSpace:
    """Return another process's memory. Raises KernelError: ESRCH, EPERM where it is another user's."""
    found = system.table.threads.get(pid)
    if found is None:
        raise KernelError(ESRCH, f"process {pid}: there is none")
    user = thread.process.credentials
    if not user.privileged and user.uid != found.process.credentials.uid:
        raise KernelError(EPERM, f"process {pid}: not yours")
    return found.process.space


def _copy(mine: UserSpace, local: Parts, other: UserSpace, remote: Parts, *, read: bool) -> int:
    """Copy in order what both lists name, to where one of them cannot be accessed; return how many bytes.

    Raises FaultError where that is at once.
    """
    done, ours, theirs = 0, list(reversed(local)), list(reversed(remote))
    try:
        while ours and theirs and done < MOST_BYTES:
            (own, own_bytes), (foreign, foreign_bytes) = ours.pop(), theirs.pop()
            count = min(own_bytes, foreign_bytes, _PIECE_BYTES)
            if read:
                mine.write(own, other.read(foreign, count))
            else:
                other.write(foreign, mine.read(own, count))
            done += count
            ours += [(own + count, own_bytes - count)] if count < own_bytes else []
            theirs += [(foreign + count, foreign_bytes - count)] if count < foreign_bytes else []
    except FaultError:
        if not done:
            raise
    return done
