"""What a busy machine does to other processes: which of them only wait for their turn."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import monotonic

import pytest
from wait_support import wait_until

from dcss.host import process as module
from dcss.host.process import has_ended_by, is_stopped, wants_processor

SPINS = "print('ready', flush=True)\nwhile True: pass"
SPINS_BESIDE = f"import threading\ndef spin():\n    {SPINS.replace(chr(10), chr(10) + '    ')}\n" + (
    "threading.Thread(target=spin).start()"
)
SLEEPS = "import signal\nprint('ready', flush=True)\nsignal.pause()"

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started = []

    def begin(code: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("code", [SPINS, SPINS_BESIDE])
def test_what_runs_or_would_wants_a_processor(start: Start, code: str) -> None:
    pid = start(code).pid
    assert wants_processor(pid)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid) and not wants_processor(pid))


def test_what_sleeps_or_is_not_there_wants_none(start: Start) -> None:
    process = start(SLEEPS)
    wait_until(lambda: not wants_processor(process.pid))
    process.kill()
    process.wait()
    assert not wants_processor(process.pid)


def test_a_killed_process_is_waited_for(start: Start) -> None:
    process = start(SPINS)
    pidfd = os.pidfd_open(process.pid)
    process.kill()
    assert has_ended_by(pidfd, process.pid, monotonic())  # past its time at once: it has its turn yet to come
    os.close(pidfd)


def test_a_process_that_ends_after_it_was_waited_for_has_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(SLEEPS)

    def look(_: int) -> bool:
        process.kill()
        process.wait()
        return False

    monkeypatch.setattr(module, "wants_processor", look)
    pidfd = os.pidfd_open(process.pid)
    assert has_ended_by(pidfd, process.pid, monotonic())
    os.close(pidfd)


def test_what_waits_when_its_time_is_over_is_given_up(start: Start) -> None:
    process = start(SLEEPS)
    wait_until(lambda: not wants_processor(process.pid))
    pidfd = os.pidfd_open(process.pid)
    assert not has_ended_by(pidfd, process.pid, monotonic())
    os.close(pidfd)


def test_what_runs_on_and_on_is_given_up_in_the_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0.2)
    process = start(SPINS)
    pidfd = os.pidfd_open(process.pid)
    assert not has_ended_by(pidfd, process.pid, monotonic())
    os.close(pidfd)
