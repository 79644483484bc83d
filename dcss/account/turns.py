"""How often processes have been given a processor: what has not run since cannot have changed its memory.

The kernel can: what it swaps out shows in the resident pages, what KSM merges or another process gives up does not.

Source: Documentation/scheduler/sched-stats.rst of Linux (/proc/PID/schedstat, CONFIG_SCHED_INFO), and proc_pid_stat(5).
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from dcss.account.proc import ProcessGoneError, read_proc
from dcss.errors import MeasurementDeniedError

_ANEW_LOOKS: Final = 128
"""What else than the process itself changed in its memory (KSM, the end of another) shows after so many looks."""


class Turn(NamedTuple):
    """A process, how often it was given a processor, and how many pages it had present then."""

    pid: int
    turns: int
    resident_pages: int


Turns = tuple[Turn, ...]


def is_due(pid: int, looks: int) -> bool:
    """Say whether the look of this number is to read a process anew though it has not run, each at its own turn."""
    return (looks + pid) % _ANEW_LOOKS == 0


def turns_of(pids: Iterable[int]) -> Turns | None:
    """Return the turns of processes; None where one runs now, has threads, has ended, or is not shown to this user."""
    found = []
    with suppress(ProcessGoneError, MeasurementDeniedError):
        for pid in pids:
            turns = int(read_proc(pid, "schedstat").split()[2])
            # After the count: one that wakes up in between is not taken for one that sleeps.
            state, threads, resident_pages = _state(read_proc(pid, "stat"))
            if state == b"R" or threads != 1:
                return None
            found.append(Turn(pid, turns, resident_pages))
        return tuple(found)
    return None


def _state(text: bytes) -> tuple[bytes, int, int]:
    # The name in parentheses may hold anything, parentheses too.
    fields = text.rpartition(b") ")[2].split()
    return fields[0], int(fields[17]), int(fields[21])
