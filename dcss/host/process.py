"""What /proc tells about other processes, and how processes end, in words."""

import os
from contextlib import suppress
from pathlib import Path
from select import POLLIN, poll
from time import monotonic
from typing import Final

TURN_SECONDS: Final = 60.0  # for so long more a process is waited for that has not had its turn on a busy machine
_LOOK_SECONDS: Final = 0.05


def wants_processor(pid: int) -> bool:
    """Return True if a thread of a process runs or would: on a busy machine it may not have had its turn for seconds.

    What waits for a disk, a file system, another process or a signal does not.
    """
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return False
    return any(_state(f"/proc/{pid}/task/{thread}/stat") == b"R" for thread in threads)


def is_overdue(pid: int, deadline: float) -> bool:
    """Return whether a process has had its time: until the deadline, and for a while more as it wants a processor."""
    now = monotonic()
    return now >= deadline and (now >= deadline + TURN_SECONDS or not wants_processor(pid))


def has_ended_by(pidfd: int, pid: int, deadline: float) -> bool:
    """Wait until a process that is to end has ended, and return whether it has; `deadline` is of the monotonic clock.

    One that waits in the kernel then, for a file system that does not answer, is given up; one that wants a processor
    to end has more time.
    """
    return is_readable_by(pidfd, pid, deadline)


def is_readable_by(descriptor: int, pid: int, deadline: float) -> bool:
    """Wait until a process has made a descriptor readable, and return whether it has; as `has_ended_by`."""
    readable = poll()
    readable.register(descriptor, POLLIN)
    seconds = max(0.0, deadline - monotonic())
    while not readable.poll(seconds * 1000):
        if is_overdue(pid, deadline):
            return bool(readable.poll(0))  # what it did between the two looks was its last turn
        seconds = _LOOK_SECONDS
    return True


def is_stopped(pid: int) -> bool:
    """Return True if a process was stopped by a signal (SIGSTOP, Ctrl-Z) or a debugger."""
    return _state(f"/proc/{pid}/stat") in {b"T", b"t"}


def _state(path: str) -> bytes:
    """Return the state's letter that a file of proc_pid_stat(5) has, or nothing where there is none."""
    try:
        # The name in parentheses may hold anything, parentheses too.
        return Path(path).read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return b""


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the machine did; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])  # proc_pid_stat(5): (22) starttime; (3) is first


def child_pids() -> list[int]:
    """Return this process's children, adopted ones included, and those that ended and were not waited for."""
    found: list[int] = []
    with suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_CHILDREN; no distribution has one
        for task in os.listdir("/proc/self/task"):  # noqa: PTH208
            found += map(int, Path(f"/proc/self/task/{task}/children").read_bytes().split())
    return found


def how_ended(status: int) -> str:
    """Return `ended by signal 9` or `ended with status 1`; `status` is as os.waitstatus_to_exitcode gives it."""
    return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
