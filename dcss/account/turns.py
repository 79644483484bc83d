"""How often processes have been given a processor: what has not run since cannot have changed its memory.

Source: Documentation/scheduler/sched-stats.rst of Linux (/proc/PID/schedstat, CONFIG_SCHED_INFO), and proc_pid_stat(5).
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from dcss.account.proc import ProcessGoneError, read_proc
from dcss.errors import MeasurementDeniedError

ANEW_LOOKS: Final = 32
"""What the kernel changes in a process that sleeps (swap, KSM) shows after so many looks."""

Turns = tuple[tuple[int, int], ...]  # of each process: its id, and how often it was given a processor


def turns_of(pids: Iterable[int]) -> Turns | None:
    """Return the turns of processes; None where one runs now, has threads, has ended, or is not shown to this user."""
    found = []
    with suppress(ProcessGoneError, MeasurementDeniedError):
        for pid in pids:
            turns = int(read_proc(pid, "schedstat").split()[2])
            # After the count: one that wakes up in between is not taken for one that sleeps.
            state, threads = _state_and_threads(read_proc(pid, "stat"))
            if state == b"R" or threads != 1:
                return None
            found.append((pid, turns))
        return tuple(found)
    return None


def _state_and_threads(text: bytes) -> tuple[bytes, int]:
    # The name in parentheses may hold anything, parentheses too.
    fields = text.rpartition(b") ")[2].split()
    return fields[0], int(fields[17])
