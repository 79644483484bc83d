"""Timers of a process end with its program, but for the interval timers; they are never a child's."""

from struct import pack

import pytest
from calls390_support import Caller
from guest390_support import Guest390

CLOCK_MONOTONIC, ITIMER_REAL = 1, 0
LONG = pack(">4q", 0, 0, 1000, 0)


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    """A process with a timer of either kind, both of which are set."""
    made = Caller(guest)
    number = made.put(4)
    assert made.call("timer_create", CLOCK_MONOTONIC, 0, number) == 0
    assert made.call("timer_settime", 0, 0, LONG, 0) == 0
    assert made.call("setitimer", ITIMER_REAL, LONG, 0) == 0
    return made


def test_another_program_has_the_interval_timer_only(caller: Caller) -> None:
    interval, posix = caller.process.timers[-3], caller.process.timers[0].timer
    assert caller.call("execve", b"/bin/pause\0", 0, 0) is None
    assert caller.process.timers == {-3: interval}
    assert interval.left_seconds > 900
    assert posix.left_seconds == 0


def test_a_child_has_none(caller: Caller) -> None:
    pid = caller.call("fork")
    assert pid is not None
    assert caller.guest.system.table.processes[pid].timers == {}
