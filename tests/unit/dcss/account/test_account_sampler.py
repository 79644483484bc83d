"""Accounts taken again and again: what has not run is not read anew, and what is said is what a measurement says."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from segment_support import PAGES, Stage, map_all

from dcss.abi.page import PAGE_SIZE
from dcss.account import sampler
from dcss.account.accounts import measure
from dcss.account.sampler import Sampler
from dcss.account.scan import GuestReading, read_guest
from dcss.account.targets import GuestTarget
from dcss.account.turns import turns_of
from dcss.results import MeasureResult

GROWN_PAGES = 1024
GROWS = f"""
import mmap, sys
kept = []
print("ready", flush=True)
for line in sys.stdin:
    area = mmap.mmap(-1, {GROWN_PAGES * PAGE_SIZE}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area[::{PAGE_SIZE}] = bytes([1]) * {GROWN_PAGES}
    kept.append(area)
    print("ready", flush=True)
"""
SPINS = 'print("ready", flush=True)\nwhile True: pass'


class Grower:
    """A guest that takes more memory whenever it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.answered()

    def answered(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        asleep(self._process.pid)

    def grow(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("more\n")
        self._process.stdin.flush()
        self.answered()


@contextmanager
def process_of(stage: Stage, code: str) -> Iterator["subprocess.Popen[str]"]:
    """Add a process of the test's own to the stage, as a guest that shares nothing."""
    command = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stage.guests.append(
            GuestTarget(
                f"LINUX{len(stage.guests) + 1:02}",
                "process",
                (process.pid,),
                "nothing",
                64 << 20,
                stage.window,
                stage.user_area,
            )
        )
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of guests that were read, in order."""
    names: list[str] = []

    def noted(guest: GuestTarget) -> GuestReading:
        names.append(guest.name)
        return read_guest(guest)

    monkeypatch.setattr(sampler, "read_guest", noted)
    monkeypatch.setattr(sampler, "_ANEW_SECONDS", float("inf"))  # however long a busy machine takes
    return names


def asleep(pid: int) -> None:
    while turns_of([pid]) is None:  # it has answered, and is on its way to sleep
        os.sched_yield()


def sample(samples: Sampler, stage: Stage) -> MeasureResult:
    samples.sleeping()
    return samples.sample(stage.system, {guest.name: (1, 2, 3, 4, 0, 0) for guest in stage.guests}, {"LIB": 2})


def measured(stage: Stage) -> MeasureResult:
    return measure(stage.system, {guest.name: (1, 2, 3, 4, 0, 0) for guest in stage.guests}, {"LIB": 2})


def without_what_others_decide(result: MeasureResult) -> MeasureResult:
    """Leave out what changes although no guest ran.

    Pss and Uss of a guest depend on what other processes of the machine map the same libraries at that moment. What
    the system's own processes cost, this process among them, changes too, and so does the time of day.
    """
    guests = tuple(replace(guest, host=replace(guest.host, pss_bytes=0, uss_bytes=0)) for guest in result.guests)
    return replace(result, guests=guests, others=(), provenance=None)


def test_what_sleeps_is_read_once_and_what_ran_is_read_anew(read: list[str]) -> None:
    samples = Sampler()
    with Stage() as stage:
        stage.publish()
        for pid in [*stage.guest(map_all()).pids, *stage.guest(map_all()).pids, stage.server.pid]:
            asleep(pid)
        with process_of(stage, GROWS) as process:
            grower = Grower(process)
            first = sample(samples, stage)
            assert read == ["LINUX01", "LINUX02", "LINUX03"]
            assert samples.sleeping() == set(read)
            second = sample(samples, stage)
            assert read == ["LINUX01", "LINUX02", "LINUX03"]
            assert (
                without_what_others_decide(second)
                == without_what_others_decide(first)
                == without_what_others_decide(measured(stage))
            )
            for pid in [*(pid for guest in stage.guests for pid in guest.pids), stage.server.pid]:
                asleep(pid)  # the measurement held them still
            sample(samples, stage)
            del read[:]
            grower.grow()
            assert samples.sleeping() == {"LINUX01", "LINUX02"}
            third = sample(samples, stage)
            assert read == ["LINUX03"]
            assert without_what_others_decide(third) == without_what_others_decide(measured(stage))
    before, after = (result.guests[2].host.uss_bytes for result in (second, third))
    assert before is not None
    assert after is not None
    assert after - before >= (GROWN_PAGES - 64) * PAGE_SIZE  # its interpreter may have given a few pages back
    assert third.totals.without_sharing_bytes == 2 * 73 * PAGE_SIZE
    assert third.segments[0].unused_bytes == (PAGES - 73) * PAGE_SIZE


def test_a_guest_that_runs_on_is_held_still_and_looked_at_each_time(read: list[str]) -> None:
    samples = Sampler()
    with Stage() as stage:
        stage.publish()
        with process_of(stage, SPINS) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for _ in range(2):
                (account,) = sample(samples, stage).guests
                assert account.host.uss_bytes
                assert samples.sleeping() == set()
    assert read == ["LINUX01"] * 2


def test_all_are_read_anew_when_a_guest_goes_and_after_a_while(
    read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = Sampler()
    with Stage() as stage:
        stage.publish()
        for pid in [*stage.guest(map_all()).pids, *stage.guest(map_all()).pids, stage.server.pid]:
            asleep(pid)
        sample(samples, stage)
        del read[:]
        stage.guests.pop()
        sample(samples, stage)
        assert read == ["LINUX01"]
        monkeypatch.setattr(sampler, "_ANEW_SECONDS", 0.0)
        sample(Sampler(), stage)
        del read[:]
        old = Sampler()
        sample(old, stage)
        sample(old, stage)
        assert read == ["LINUX01"] * 2
