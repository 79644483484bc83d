"""What a guest's processes fork ends with the guest, with the system, and after a CP that was killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from cli_support import Dcss, own_path
from forking_support import BEHAVIOURS, forking_program
from system_support import RunningSystem, alive, guest, system_plan, wait_gone

from dcss.engines.forked import server_process
from dcss.progress import SilentProgress
from dcss.system.system import System


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    directory = tmp_path / "pids"
    directory.mkdir()
    return directory


def mostly_slow(behaviours: Iterable[str]) -> list[str | ParameterSet]:
    """Return the behaviours, of which all but the first are for the slow tests: each takes a second."""
    first, *rest = behaviours
    return [first, *(pytest.param(behaviour, marks=pytest.mark.slow) for behaviour in rest)]


def told(pids: Path) -> list[int]:
    return [int(path.name) for path in pids.iterdir()]


def living(pids: Path) -> list[int]:
    return [pid for pid in told(pids) if alive(pid)]


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_nothing_is_left_when_the_system_is_down(
    tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr(server_process, "_PROGRAM", forking_program(behaviour, pids))
    with RunningSystem(system_plan(tmp_path, guest("A"), guest("B"))) as system:
        system.bring_up()
        assert living(pids) or behaviour == "hopping"
    assert told(pids)
    assert living(pids) == []


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_nothing_is_left_when_the_guest_is_stopped(
    tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr(server_process, "_PROGRAM", forking_program(behaviour, pids))
    with RunningSystem(system_plan(tmp_path, guest("A"))) as system:
        system.bring_up()

        async def stop() -> None:
            stopped = system.system.supervisor.guests["A"]
            settled = stopped.next_settled()
            system.system.supervisor.stop(stopped)
            await settled

        system.run(stop())
        assert told(pids)
        assert living(pids) == []


@pytest.mark.parametrize("behaviour", ["setsid", "daemon", "deaf", "stopped", "renamed"])
def test_nothing_is_left_where_the_fork_server_was_killed(
    tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr(server_process, "_PROGRAM", forking_program(behaviour, pids))
    with RunningSystem(system_plan(tmp_path, guest("A"))) as system:
        system.bring_up()
        assert living(pids)
        (server,) = system.system.engines["process"].pids
        os.kill(server, signal.SIGKILL)
        with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
            system.run(System.__aexit__(system.system, None, None, None))
            assert stranger.poll() is None
            stranger.kill()
    assert living(pids) == []


_START = """
import sys
from dcss.engines.forked import server_process
server_process._PROGRAM = sys.argv.pop(1)
from dcss.cli.main import main
main()
"""


def start_forking(dcss: Dcss, behaviour: str, pids: Path) -> int:
    """Bring a system up whose guests fork, and return its CP's process."""
    command = [sys.executable, "-c", _START, forking_program(behaviour, pids), "up", str(dcss.guests(2)), "-d"]
    environment = {**dcss.environment, "PYTHONPATH": own_path()}
    subprocess.run(command, env=environment, cwd=dcss.home, check=True, capture_output=True, timeout=300)
    return int(dcss.ps()["pid"])


@pytest.mark.parametrize("behaviour", mostly_slow(BEHAVIOURS))
def test_a_killed_cp_takes_along_what_guests_forked(dcss: Dcss, pids: Path, behaviour: str) -> None:
    if dcss.uid is not None:
        pytest.skip("the tests' own interpreter is needed")
    cp = start_forking(dcss, behaviour, pids)
    os.kill(cp, signal.SIGKILL)
    wait_gone(cp, *told(pids))
    dcss("down", dcss.system)
    assert living(pids) == []
    dcss.assert_nothing_left()


@pytest.mark.parametrize("behaviour", mostly_slow(["setsid", "daemon", "deaf", "stopped", "renamed"]))
def test_the_next_command_ends_what_a_dead_system_left(dcss: Dcss, pids: Path, behaviour: str) -> None:
    if dcss.uid is not None:
        pytest.skip("the tests' own interpreter is needed")
    cp = start_forking(dcss, behaviour, pids)
    (server,) = [pid for pid, name in dcss.processes().items() if name == "dcss:forkserver"]
    with subprocess.Popen(["sleep", "600"], env={**os.environ, "DCSS_STARTED_BY": f"{dcss.system}:1:2:3"}) as stranger:
        os.kill(server, signal.SIGSTOP)  # it cannot end anything now
        os.kill(cp, signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        wait_gone(cp, server)
        left = living(pids)
        assert left
        (result,) = dcss.json("down", dcss.system)["systems"]
        assert stranger.poll() is None
        stranger.kill()
    removed = [line.partition(" (")[0] for line in result["removed"]]
    assert {f"process {pid}" for pid in left} <= set(removed)
    assert living(pids) == []
    dcss.assert_nothing_left()


def test_another_system_is_not_touched(tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "_PROGRAM", forking_program("daemon", pids))
    other = System(system_plan(tmp_path, guest("A"), name=f"test{os.getpid()}x"), SilentProgress())
    with RunningSystem(system_plan(tmp_path, guest("A"))) as stays:
        stays.bring_up()
        before = living(pids)
        stays.run(other.__aenter__())
        stays.run(other.__aexit__(None, None, None))
        assert living(pids) == before
        assert before
    assert living(pids) == []
