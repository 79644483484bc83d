"""The kernel's limits that a system of many guests meets first, and how to raise them."""

import resource
from errno import EAGAIN, EMFILE, ENFILE, ENOMEM, ETOOMANYREFS

from dcss.errors import LaunchError

_PER_GUEST = 4  # port, console, pidfd, and a pidfd of the proof that holds it still
_PER_SEGMENT = 6  # writer, reader and mapping; twice, where its saved content is kept beside what guests write (SW)
_OTHERS = 256  # versions pending purge (three each), clients, logs, what a proof opens for a moment


def raise_soft_descriptor_limit() -> int:
    """Raise this process's RLIMIT_NOFILE as far as it goes, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def raise_descriptor_limit(guests: int, segments: int) -> None:
    """Raise RLIMIT_NOFILE as far as it goes. Raises LaunchError where that is not enough for the system."""
    hard = raise_soft_descriptor_limit()
    needed = guests * _PER_GUEST + segments * _PER_SEGMENT + _OTHERS
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise LaunchError(
            f"{guests} guests and {segments} segments need {needed} descriptors, found a limit of {hard}"
            f" (RLIMIT_NOFILE); raise it: ulimit -Hn {needed}, or LimitNOFILE= of the service"
        )


def explain(error: OSError, pid: int = 0) -> str:
    """Return an error's words, and for one that a limit of descriptors causes, how to raise it.

    The limit is that of process `pid`, which met it; 0 is this process.
    """
    words = error.strerror or str(error)
    if error.errno == EMFILE:
        limit = _soft_limit(resource.RLIMIT_NOFILE, pid)
        return f"{words}: all {limit} descriptors are in use (RLIMIT_NOFILE); raise the limit: ulimit -Hn"
    if error.errno == ENFILE:
        return f"{words}: no descriptor is left on this machine; raise fs.file-max: sysctl -w fs.file-max=NUMBER"
    if error.errno == ETOOMANYREFS:  # unix(7)
        limit = _soft_limit(resource.RLIMIT_NOFILE, pid)
        return (
            f"{words}: more than {limit} descriptors of this user are on their way through sockets (RLIMIT_NOFILE);"
            " raise the limit: ulimit -Hn"
        )
    return words


def explain_fork(error: OSError, pid: int = 0) -> str:
    """Return why fork(2) failed in process `pid`, and what limits it; 0 is this process."""
    words = error.strerror or str(error)
    if error.errno == EAGAIN:
        processes = _soft_limit(resource.RLIMIT_NPROC, pid)
        limit = "no limit" if processes == resource.RLIM_INFINITY else processes
        return (
            f"fork: {words}; processes are limited by RLIMIT_NPROC (ulimit -u, here {limit}), by the cgroup's pids.max,"
            " and by kernel.pid_max"
        )
    if error.errno == ENOMEM:
        return f"fork: {words}; free memory, or allow more of it to be promised: sysctl -w vm.overcommit_memory=1"
    return f"fork: {explain(error, pid)}"


def _soft_limit(which: int, pid: int) -> int:
    """Return a limit of a process; where that has ended, this one's own, from which it had its."""
    try:
        return resource.prlimit(pid, which)[0]
    except OSError:
        return resource.getrlimit(which)[0]
