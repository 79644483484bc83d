"""When a guest is started again, and when it is left as it is."""

import time
from pathlib import Path
from typing import Any

import pytest
from system_support import guest

from dcss.system.guest import RESTART_DELAYS_SECONDS, Guest, State


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(time, "time", lambda: self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def restarted(**changes: Any) -> Guest:
    return Guest(guest("A", restart="on-failure", **changes))


def fail(one: Guest) -> float | None:
    """Fail once as the supervisor does, and return the delay."""
    delay = one.next_delay_seconds()
    if delay is not None:
        one.consecutive_failures += 1
        one.enter(State.RESTARTING)
        one.enter(State.STARTING)
    return delay


def test_without_a_policy_it_is_left() -> None:
    assert Guest(guest("A")).next_delay_seconds() is None


def test_consecutive_failures_wait_longer_each_time_and_end(clock: Clock) -> None:
    one = restarted()
    assert [fail(one) for _ in range(6)] == [*RESTART_DELAYS_SECONDS, None]
    assert list(RESTART_DELAYS_SECONDS) == sorted(RESTART_DELAYS_SECONDS)


def test_a_steady_life_forgets_earlier_failures(clock: Clock) -> None:
    one = restarted()
    for _ in range(4):
        fail(one)
    one.enter(State.READY)
    clock.seconds += 59
    assert fail(one) == RESTART_DELAYS_SECONDS[4]
    one.enter(State.READY)
    clock.seconds += 60
    assert fail(one) == RESTART_DELAYS_SECONDS[0]


def test_what_is_stopped_stays(clock: Clock) -> None:
    one = restarted()
    one.wanted = False
    assert fail(one) is None


def test_since_is_of_the_state(clock: Clock) -> None:
    one = restarted()
    one.enter(State.RUNNING)
    clock.seconds += 5
    one.enter(State.RUNNING)
    assert one.since_seconds == 1000
    one.enter(State.READY)
    assert one.since_seconds == 1005


def test_what_was_refused_has_no_process(tmp_path: Path) -> None:
    one = restarted()
    one.reason = "fork: no more"
    assert (one.outcome().exit_status, one.outcome().seconds) == (71, 0.0)
    assert one.outcome().log == "fork: no more"
