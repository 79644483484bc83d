"""A system's start, its guests' fates, and what is left behind: nothing."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from needs_support import needs
from system_support import COPIED, SYSTEM, RunningSystem, alive, guest, objects, segment_objects, system_plan, wait_gone
from wait_support import kill

from dcss.abi.hypercall import Request
from dcss.config.plan import GuestPlan, LinuxSettings, MountPlan, SystemPlan
from dcss.engines.process.engine import ProcessEngine
from dcss.errors import ConfigError, LaunchError, SystemBusyError
from dcss.system.system import make_engines

pytestmark = needs("mke2fs")
MAP_ALL = ("map", "/usr/lib/**/*.so*")


@pytest.fixture(autouse=True)
def private_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def start(plan: SystemPlan) -> RunningSystem:
    return RunningSystem(plan)


def test_guests_become_ready_and_leave_nothing(tmp_path: Path) -> None:
    plan = system_plan(
        tmp_path, *(guest(f"LINUX0{i}", MAP_ALL) for i in range(4)), guest("BASE", MAP_ALL, options=COPIED)
    )
    with start(plan) as system:
        system.bring_up()
        assert [g.outcome().exit_status for g in system.guests.values()] == [0] * 5
        assert all(g.ready for g in system.guests.values())
        assert system.cp.users("LIB") == 5
        base = system.guests["BASE"].verdict
        assert base is not None
        assert base.page_cache_bytes == (250 + 52 + 1) * 4096
        assert segment_objects(SYSTEM) == [f"dcss.{SYSTEM}.LIB.1"]
        pids = [system.pid_of(name) for name in system.guests] + [system.fork_server_pid]
        names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]
        assert names == ["dcss:LINUX00", "dcss:LINUX01", "dcss:LINUX02", "dcss:LINUX03", "dcss:BASE", "dcss:forkserver"]
    wait_gone(*pids)
    assert objects(SYSTEM) == []
    assert list(tmp_path.glob("dcss/*")) == []


def test_when_all_is_closed_every_process_is_gone(tmp_path: Path) -> None:
    with start(system_plan(tmp_path, *(guest(f"G{i}", MAP_ALL, options=COPIED) for i in range(8)))) as system:
        system.bring_up()
        pids = [system.pid_of(name) for name in system.guests]
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]  # zombies neither, and without waiting for it


def test_guests_hold_only_their_own_descriptors_and_cannot_write(tmp_path: Path) -> None:
    with start(system_plan(tmp_path, guest("A", MAP_ALL), guest("B", MAP_ALL))) as system:
        system.bring_up()
        pid = system.pid_of("B")
        links = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208, PTH115
        segment_fds = [fd for fd, link in links.items() if f"dcss.{SYSTEM}.LIB" in link]
        assert len(links) == 6, links  # stdin, log twice, port, console, the segment
        assert len(segment_fds) == 1
        flags = Path(f"/proc/{pid}/fdinfo/{segment_fds[0]}").read_text().split("flags:")[1].split()[0]
        assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
        # The forked guest inherited no mapping of what CP holds: only its own, read-only.
        mapped = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if f"dcss.{SYSTEM}.LIB" in line]
        assert mapped
        assert all(line.split()[1] == "r--s" for line in mapped)


@pytest.mark.parametrize(
    ("broken", "status", "words"),
    [
        (guest("BAD", ("map", "/nosuch/*")), 1, "matches no regular file"),
        (guest("BAD", MAP_ALL, mounts=(MountPlan("dcssblk3", "/", ("ro",)),)), 1, "no such block device"),
        (guest("BAD", MAP_ALL, storage_bytes=1 << 20, options=COPIED), 1, "give the guest more `storage:`"),
        (guest("BAD", MAP_ALL, dcssblk=("NOSUCH",)), 1, "cannot be loaded or queried"),
    ],
)
def test_a_failed_guest_is_reported_with_its_log_and_the_others_go_on(
    tmp_path: Path,
    broken: GuestPlan,
    status: int,
    words: str,
) -> None:
    with start(system_plan(tmp_path, broken, guest("GOOD", MAP_ALL))) as system:
        system.bring_up()
        outcome = system.guests["BAD"].outcome()
        assert outcome.exit_status == status
        assert words in outcome.log
        assert system.guests["GOOD"].ready


def test_a_killed_guest_is_noticed_and_its_segments_released(tmp_path: Path) -> None:
    with start(system_plan(tmp_path, guest("A", MAP_ALL), guest("B", MAP_ALL))) as system:
        system.bring_up()
        assert system.cp.users("LIB") == 2
        kill(system.pid_of("A"))
        system.serve_until(lambda: system.guests["A"].exit_status is not None)
        assert system.guests["A"].outcome().exit_status == -signal.SIGKILL
        assert system.cp.users("LIB") == 1
        assert system.guests["B"].ready


def test_a_killed_fork_server_is_an_error_and_takes_its_guests_along(tmp_path: Path) -> None:
    with start(system_plan(tmp_path, guest("A", MAP_ALL))) as system:
        system.bring_up()
        pid = system.pid_of("A")
        kill(system.fork_server_pid)
        with pytest.raises(LaunchError, match="fork server"):
            system.serve_until(lambda: False)
        wait_gone(pid)
    assert objects(SYSTEM) == []


def test_a_guest_that_floods_its_port_is_ended_and_disturbs_nobody(tmp_path: Path) -> None:
    with start(system_plan(tmp_path, guest("A", MAP_ALL), guest("B", MAP_ALL))) as system:
        system.bring_up()
        flooded = system.guests["A"]
        for request in (
            Request(0, 0, 0),
            Request((1 << 64) - 1, (1 << 64) - 1, 0),
            Request(0x64, 0, 0, os.urandom(4000)),
        ):
            system.run(system.cp.handle("A", request))
        assert system.cp.loaded("B").keys() == {"LIB"}
        flooded.kill()
        system.serve_until(lambda: flooded.exit_status is not None)
        assert system.guests["B"].ready


def test_second_cp_of_a_system_is_refused_and_another_system_is_not(tmp_path: Path) -> None:
    plan = system_plan(tmp_path, guest("A", MAP_ALL))
    with start(plan) as first:
        first.publish()
        with pytest.raises(SystemBusyError, match=str(os.getpid())), start(plan):
            pass
        with start(system_plan(tmp_path, guest("A", MAP_ALL), name=f"{SYSTEM}-other")) as second:
            second.bring_up()
            assert len(segment_objects(SYSTEM)) == len(segment_objects(f"{SYSTEM}-other")) == 1
        assert len(segment_objects(SYSTEM)) == 1


def test_an_engine_that_is_not_built_is_refused_before_anything_starts(tmp_path: Path) -> None:
    plan = system_plan(tmp_path, guest("A", MAP_ALL, settings=LinuxSettings()))
    with pytest.raises(ConfigError, match=r"test\.yaml:2: engine: found linux"):
        make_engines(plan, {"process": ProcessEngine})


PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from system_support import guest, system_plan
from dcss.host.signals import run_interruptible
from dcss.progress import SilentProgress
from dcss.system.system import System

async def main():
    guests = [guest(f"G{{i}}", ("map", "/usr/lib/*.so*")) for i in range(3)]
    async with System(system_plan(Path({tmp!r}), *guests, name={system!r}), SilentProgress()) as system:
        await system.publish()
        system.launch()
        await system.wait()
        print(*system.engines["process"].pids, *(g.pids[0] for g in system.guests.values()), flush=True)
        await system.serve()

run_interruptible(main())
"""


def run_cp(tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    program = textwrap.dedent(PROGRAM).format(paths=sys.path, tmp=str(tmp_path), system=SYSTEM)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, [int(word) for word in process.stdout.readline().split()]


def test_a_killed_cp_takes_its_guests_along_and_the_next_start_cleans_up(tmp_path: Path) -> None:
    process, pids = run_cp(tmp_path)
    with process:
        assert len(pids) == 4
        assert all(alive(pid) for pid in pids)
        process.kill()
    wait_gone(*pids)
    assert segment_objects(SYSTEM) == [f"dcss.{SYSTEM}.LIB.1"]  # nobody was left to unlink it
    with start(system_plan(tmp_path, guest("A", MAP_ALL))) as system:
        assert segment_objects(SYSTEM) == []
        assert any(f"dcss.{SYSTEM}.LIB.1" in name for name in system.cp.swept)


def test_interrupt_takes_everything_down(tmp_path: Path) -> None:
    process, pids = run_cp(tmp_path)
    with process:
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == -signal.SIGINT
    wait_gone(*pids)
    assert objects(SYSTEM) == []
