"""Processes stand still while they are held, and run again afterwards as they did before."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from errno import EMFILE
from pathlib import Path

import pytest
from segment_support import without_privilege
from wait_support import wait_until

from dcss.account import hold as hold_module
from dcss.account.hold import Hold
from dcss.account.proc import family

# Forks a child that forks another, and a thread; all of them count for ten minutes, should the test be killed.
FAMILY = """
import os, threading, time
end = time.monotonic() + 600
for _ in range(2):
    if os.fork():
        break
def count():
    while time.monotonic() < end:
        pass
threading.Thread(target=count, daemon=True).start()
print("ready", flush=True)
count()
"""
# Has up to 50 children at a time, ended ones among them, so that it can never use up the machine's process ids.
FORKING = """
import os, time
print("ready", flush=True)
children, end = 0, time.monotonic() + 600
while time.monotonic() < end:
    if os.fork() == 0:
        time.sleep(0.01)
        os._exit(0)
    children += 1
    while children >= 50:
        os.waitpid(-1, 0)
        children -= 1
"""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def threads_run(pid: int) -> bool:
    """Say whether any thread of a process gets processor time."""

    def ticks() -> list[str]:
        return [path.read_text().rpartition(")")[2].split()[11] for path in Path(f"/proc/{pid}/task").glob("*/stat")]

    before = ticks()
    time.sleep(0.1)
    return ticks() != before


@pytest.fixture
def run() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        # By session: a child whose parent was killed is in no family any more.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def start(run: list[subprocess.Popen[str]], code: str, *, lines: int = 1) -> int:
    command = [sys.executable, "-I", "-S", "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    run.append(process)
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline() == "ready\n"
    return process.pid


def test_a_family_stands_still_and_goes_on(run: list[subprocess.Popen[str]]) -> None:
    pid = start(run, FAMILY, lines=3)
    pids = family([pid])
    assert len(pids) == 3
    with Hold([pid]) as hold:
        assert [state(each) for each in pids] == ["T"] * 3
        assert not any(threads_run(each) for each in pids)
    assert hold.failures == {}
    assert "T" not in [state(each) for each in pids]
    wait_until(lambda: threads_run(pid))  # as soon as there is a processor for it


def test_children_of_what_is_held_alone_run_on(run: list[subprocess.Popen[str]]) -> None:
    pid = start(run, FAMILY, lines=3)
    with Hold((), alone=[pid]):
        assert [state(each) == "T" for each in family([pid])] == [True, False, False]


def test_what_was_stopped_already_stays_stopped(run: list[subprocess.Popen[str]]) -> None:
    pid = start(run, FAMILY, lines=3)
    child = family([pid])[1]
    os.kill(child, signal.SIGSTOP)
    while state(child) != "T":
        pass
    with Hold([pid]):
        pass
    assert [state(each) == "T" for each in family([pid])] == [False, True, False]


def test_passes_go_on_until_two_in_a_row_find_nobody_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was forked just before its parent stood still may be seen by the second pass only."""
    stopped: list[list[int]] = []
    monkeypatch.setattr(Hold, "_stop", lambda _, pids: stopped.append(pids))
    found = [(1, 2), (1, 2), (1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3, 4)]
    passes = iter(found)
    monkeypatch.setattr(hold_module, "family", lambda _: next(passes))
    with Hold([1], alone=[2]):
        assert stopped == [[2], [1], [], [3], [], []]
    passes = iter(found[1:])
    stopped.clear()
    with Hold([1], alone=[1, 2]):
        assert stopped == [[1, 2], [], [3], [], []]
    passes = iter([(1,), (1,), (1, 2)])
    stopped.clear()
    with Hold([1], alone=[1]):
        assert stopped == [[1], [], []]


def test_a_process_that_forks_all_the_time(run: list[subprocess.Popen[str]]) -> None:
    pid = start(run, FORKING)
    for _ in range(20):
        with Hold([pid]) as hold:
            pids = family([pid])
            assert {state(each) for each in pids} <= {"T", "Z"}
            assert family([pid]) == pids
        assert hold.failures == {}


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_inside_lets_them_run_again(run: list[subprocess.Popen[str]], error: type[BaseException]) -> None:
    pid = start(run, FAMILY, lines=3)
    with pytest.raises(error), Hold([pid]):
        raise error
    assert state(pid) != "T"


def test_an_interrupt_while_they_are_stopped_lets_them_run_again(
    run: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(hold: Hold, pids: list[int]) -> None:
        raise KeyboardInterrupt

    pid = start(run, FAMILY, lines=3)
    monkeypatch.setattr(Hold, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt), Hold([pid]):
        pass
    assert "T" not in [state(each) for each in family([pid])]


def test_a_process_that_ended_is_no_failure(run: list[subprocess.Popen[str]]) -> None:
    pid = start(run, FAMILY, lines=3)
    zombie = family([pid])[0]
    os.kill(zombie, signal.SIGKILL)
    with Hold([zombie, 1 << 22]) as hold:
        pass
    assert hold.failures == {}


def test_signals_go_through_pidfds_that_are_closed_again(
    run: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = start(run, FAMILY, lines=3)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", None)  # a number may be another process's by then
        with Hold([pid]):
            assert state(pid) == "T"
            assert len(list(Path("/proc/self/fd").iterdir())) > before
    assert state(pid) != "T"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_process_for_which_there_is_no_descriptor_left_is_a_failure(
    run: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: int) -> int:
        raise OSError(EMFILE, os.strerror(EMFILE))

    pid = start(run, FAMILY, lines=3)
    monkeypatch.setattr(os, "pidfd_open", none_left)
    with Hold([pid]) as hold:
        assert state(pid) != "T"
    assert hold.failures[pid] == "no descriptor for it: Too many open files"


def test_a_process_of_another_user_is_a_failure_and_no_error() -> None:
    def hold() -> dict[int, str]:
        with Hold((), alone=[1]) as held:
            return held.failures

    assert without_privilege(hold) == {1: "this user may not stop it"}


def test_a_process_that_does_not_stop_is_a_failure_after_a_while(
    run: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = start(run, FAMILY, lines=3)
    monkeypatch.setattr(hold_module, "_stands_still", lambda _: False)
    monkeypatch.setattr(hold_module, "_STOP_SECONDS", 0.05)
    with Hold([pid]) as hold:
        pass
    assert set(hold.failures) == set(family([pid]))
    assert "did not stop within 0.05 s" in hold.failures[pid]
    assert state(pid) != "T"


def test_a_process_that_stops_when_it_has_its_turn_is_no_failure(
    run: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine that takes longer than one that waits in the kernel is given."""
    pid, looks = start(run, FAMILY, lines=3), iter(range(1000))
    monkeypatch.setattr(hold_module, "_stands_still", lambda _: next(looks) >= 50)
    monkeypatch.setattr(hold_module, "wants_processor", lambda _: True)
    monkeypatch.setattr(hold_module, "_STOP_SECONDS", 0.0)
    with Hold([pid]) as hold:
        pass
    assert hold.failures == {}
    assert next(looks) > 50
