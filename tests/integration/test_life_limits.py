"""A limit of the machine that is met while the system is up: the guest that meets it fails, and the others live on."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_support import Dcss
from needs_support import needs
from system_support import RunningSystem, alive, guest, system_plan
from wait_support import kill, stop, wait_at_rest, wait_until

from dcss.engines.forked import server_process
from dcss.system.guest import State

CLONE_NEWPID = 0x20000000


def process(dcss: Dcss, wanted: str) -> int:
    (pid,) = [pid for pid, name in dcss.processes().items() if name == wanted]
    return pid


# Root may be without CAP_SYS_RESOURCE, which another user's limits want.
of_this_user = pytest.mark.parametrize("dcss", ["self"], indirect=True)


def descriptors(pid: int) -> set[int]:
    return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208


@contextmanager
def none_left(pid: int, but: int = 0) -> Iterator[None]:
    """Leave a process that is at rest no number for one more descriptor, `but` for so many."""
    used = descriptors(pid)
    free = [number for number in range(len(used) + but + 1) if number not in used]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[but], hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@of_this_user
def test_no_descriptor_left_for_a_started_guest_fails_that_guest_alone(dcss: Dcss) -> None:
    """The fork server is held while it is asked for a guest, so that CP runs out just before it hears of it."""
    dcss("up", dcss.guests(3), "-d")
    cp, server = process(dcss, "dcss:cp"), process(dcss, "dcss:forkserver")
    dcss("guest", "stop", "G02")
    wait_at_rest(cp)
    before = descriptors(cp)
    stop(server)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(dcss, "guest", "start", "G02", status=None)
        # Its port, its console, and the client that waits.
        wait_until(lambda: len(descriptors(cp)) >= len(before) + 3, lambda: "CP did not ask for the guest")
        wait_at_rest(cp)
        with none_left(cp):
            os.kill(server, signal.SIGCONT)
            started = starting.result()
    assert "Too many open files: all " in started.stdout + started.stderr, started
    form = dcss.ps()["guests"][1]
    assert (form["state"], form["pid"], form["exit_status"]) == ("failed", None, 71)
    assert "descriptors are in use (RLIMIT_NOFILE); raise the limit" in form["reason"]
    assert "dcss:G02" not in dcss.processes().values()
    assert dcss.states() == {"G01": "ready", "G02": "failed", "G03": "ready"}
    wait_at_rest(cp)
    assert descriptors(cp) == before
    dcss("guest", "start", "G02")
    assert dcss.json("verify")["verdict"] == "verified"
    dcss("down")
    dcss.assert_nothing_left()


@of_this_user
def test_no_descriptor_left_to_ask_for_a_guest_fails_that_guest_alone(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2), "-d")
    cp = process(dcss, "dcss:cp")
    kill(dcss.pid_of("G02"))
    dcss.wait_for("G02", "killed")
    wait_at_rest(cp)
    with none_left(cp, but=1):  # for the client that asks
        failed = dcss("guest", "start", "G02", status=None)
    assert "Too many open files" in failed.stdout + failed.stderr
    assert dcss.states() == {"G01": "ready", "G02": "failed"}
    dcss("guest", "start", "G02")
    assert dcss.states() == {"G01": "ready", "G02": "ready"}


@needs("root")
def test_a_fork_without_memory_fails_that_guest_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fork(2) says ENOMEM in a process id namespace whose first process has ended: memory need not run out for it."""
    unshare = f"import ctypes; ctypes.CDLL(None).unshare({CLONE_NEWPID}); "
    monkeypatch.setattr(server_process, "_PROGRAM", unshare + server_process._PROGRAM)
    with RunningSystem(system_plan(tmp_path, guest("A"), guest("B"))) as system:
        system.publish()
        system.launch()
        supervisor = system.system.supervisor
        guests = supervisor.guests

        def first_killed_and_all_ended() -> bool:
            if guests["A"].instance is not None:
                guests["A"].instance.kill()
            return all(each.state in {State.FAILED, State.KILLED} for each in guests.values())

        system.serve_until(first_killed_and_all_ended)

        async def start() -> None:
            supervisor.start(guests["B"])

        system.run(start())
        system.serve_until(lambda: guests["B"].state.settled)
        assert guests["B"].state is State.FAILED
        assert guests["B"].outcome().exit_status == 71
        assert guests["B"].reason.startswith(f"fork: {os.strerror(errno.ENOMEM)}; free memory")
        assert guests["B"].name not in system.cp.machines
        assert alive(system.fork_server_pid), "the fork server ended"
