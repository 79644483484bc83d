"""What prctl(2) sets for this process: to die with its parent, its name, and to adopt orphans."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
_SIGKILL = int(signal.SIGKILL)

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with(parent_pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the thread that forked it ends; now if its parent has ended."""
    if _prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl(PR_SET_PDEATHSIG): {os.strerror(errno)}")
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), number)


def set_name(name: str) -> None:
    """Give this process the name that ps shows; the kernel keeps 15 bytes."""
    _prctl(PR_SET_NAME, os.fsencode(name), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that this process can wait for their end."""
    if _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(errno)}")


def tie_child(parent_pid: int, name: bytes) -> None:
    """Do all of it in one call: die with the parent that forked this process, adopt orphans, and have this name."""
    # One function, since each one that runs right after a fork has its own pages copied.
    failed = _prctl(PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) or _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if failed:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl: {os.strerror(errno)}")
    _prctl(PR_SET_NAME, name, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), _SIGKILL)
