"""What /proc tells about other processes, and how processes end, in words."""

import os
from contextlib import suppress
from pathlib import Path


def is_stopped(pid: int) -> bool:
    """Return True if a process was stopped by a signal (SIGSTOP, Ctrl-Z) or a debugger."""
    try:
        # The name in parentheses may hold anything, parentheses too.
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return False
    return state in {b"T", b"t"}


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
