"""What a supervisor makes of the order in which its guests start, report and end; the engine is a fake one."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cp_support import private_directories, unique_system
from engine_support import READY, FakeEngine
from loop_support import in_event_loop, settle
from system_support import guest

from dcss.abi.console import Verdict
from dcss.config.plan import GuestPlan, SystemPlan
from dcss.cp.program import ControlProgram
from dcss.host.aio import TaskSet
from dcss.system.guest import Guest, State
from dcss.system.log import SystemLog
from dcss.system.supervisor import STARTS_AT_ONCE, Supervisor


class Stage:
    """A supervisor with a CP and an engine."""

    def __init__(self, directory: Path, guests: tuple[GuestPlan, ...]) -> None:
        self.engine = FakeEngine()
        self.tasks = TaskSet()
        self.log = SystemLog(directory)
        self.cp = ControlProgram(unique_system())
        self.settled: list[str] = []
        self.supervisor = Supervisor(
            SystemPlan("fake", (), guests, directory / "fake.yaml"),
            cp=self.cp,
            engines={"process": self.engine},
            tasks=self.tasks,
            log=self.log,
            on_settled=lambda each: self.settled.append(each.name),
        )

    @property
    def registered(self) -> set[str]:
        """Names of the guests that CP knows."""
        return set(self.cp.machines)

    def guest(self, name: str = "G") -> Guest:
        return self.supervisor.guests[name]


@asynccontextmanager
async def stage_of(directory: Path, *guests: GuestPlan) -> AsyncIterator[Stage]:
    with private_directories():
        stage = Stage(directory, guests)
        try:
            yield stage
        finally:
            await stage.tasks.close()
            stage.log.close()
            stage.cp.close()


async def until(guest: Guest, *states: State) -> None:
    while guest.state not in states:
        await asyncio.sleep(0.001)


@in_event_loop
async def test_a_guest_is_ready_with_its_verdict(tmp_path: Path) -> None:
    async with stage_of(tmp_path, guest("G")) as stage:
        stage.supervisor.launch()
        await until(stage.guest(), State.RUNNING)
        assert stage.registered == {"G"}
        stage.engine.instances[0].report(READY)
        await stage.supervisor.wait_settled()
        assert (stage.guest().state, stage.settled) == (State.READY, ["G"])
        assert stage.guest().outcome().exit_status == 0


@in_event_loop
async def test_an_end_is_recorded_with_its_reason(tmp_path: Path) -> None:
    plans = [guest(name) for name in ("SIGNAL", "STATUS", "ENGINE")]
    async with stage_of(tmp_path, *plans) as stage:
        stage.supervisor.launch()
        await until(stage.guest("ENGINE"), State.RUNNING)
        for instance, end in zip(stage.engine.instances, ((-9, ""), (3, ""), (-9, "no reply")), strict=True):
            instance.end(*end)
        await stage.supervisor.wait_settled()
        assert [each.state for each in stage.supervisor.guests.values()] == [State.KILLED, State.FAILED, State.FAILED]
        outcomes = [each.outcome() for each in stage.supervisor.guests.values()]
        assert [each.exit_status for each in outcomes] == [-9, 3, 71]
        assert all(each.seconds > 0 for each in outcomes), "each ran for some time"
        assert stage.guest("ENGINE").outcome().log == "no reply"
        assert stage.registered == set()
        log = stage.log.path.read_text()
        for line in ("guest SIGNAL: killed by SIGKILL", "guest STATUS: ended with status 3", "guest ENGINE: no reply"):
            assert line in log


@in_event_loop
async def test_a_guest_that_reports_a_failure_and_lives_on_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcss.system.supervisor._EXIT_SECONDS", 0.01)
    async with stage_of(tmp_path, guest("G")) as stage:
        stage.supervisor.launch()
        await until(stage.guest(), State.RUNNING)
        stage.engine.instances[0].report(Verdict(1, 0.1, 0, 0, 0, message="no such file"))
        await stage.supervisor.wait_settled()
        assert (stage.guest().state, stage.engine.instances[0].kills) == (State.FAILED, 1)
        assert "guest G: no such file" in stage.log.path.read_text()


@in_event_loop
async def test_a_guest_that_ends_late_on_a_busy_machine_is_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def wants_processor(pid: int) -> bool:
        looks.append(pid)
        if len(looks) == 3:
            stage.engine.instances[0].end(1)
        return True

    monkeypatch.setattr("dcss.system.supervisor._EXIT_SECONDS", 0.01)
    monkeypatch.setattr("dcss.system.supervisor.wants_processor", wants_processor)
    async with stage_of(tmp_path, guest("G")) as stage:
        stage.supervisor.launch()
        await until(stage.guest(), State.RUNNING)
        stage.engine.instances[0].report(Verdict(1, 0.1, 0, 0, 0, message="no such file"))
        await stage.supervisor.wait_settled()
        assert (stage.guest().state, stage.engine.instances[0].kills) == (State.FAILED, 0)
        assert stage.guest().outcome().exit_status == 1


@in_event_loop
async def test_whoever_stops_a_guest_hears_of_its_end_and_not_that_it_became_ready(tmp_path: Path) -> None:
    async with stage_of(tmp_path, guest("G")) as stage:
        stage.supervisor.launch()
        await until(stage.guest(), State.RUNNING)
        instance = stage.engine.instances[0]
        instance.immortal = True
        settled = stage.guest().next_settled()
        instance.report(READY)  # sent before it is killed, received after
        stage.supervisor.stop(stage.guest())
        await settle()
        assert not settled.done()
        instance.end(-signal.SIGKILL)
        assert await settled is State.STOPPED


@in_event_loop
async def test_guests_that_are_killed_as_all_is_taken_down_are_not_started_again(tmp_path: Path) -> None:
    plans = [guest(name, restart="on-failure") for name in ("A", "B")]
    async with stage_of(tmp_path, *plans) as stage:
        stage.supervisor.kill_all()  # nothing happens to those that have no process yet
        stage.supervisor.launch()
        for each in stage.supervisor.guests.values():
            await until(each, State.RUNNING)
            each.wanted = True
        stage.supervisor.kill_all()
        await stage.supervisor.wait_settled()
        assert [each.state for each in stage.supervisor.guests.values()] == [State.STOPPED, State.STOPPED]
        assert [instance.kills for instance in stage.engine.instances] == [1, 1]


@in_event_loop
async def test_a_guest_that_is_stopped_while_its_process_is_made_is_killed_when_it_has_one(tmp_path: Path) -> None:
    async with stage_of(tmp_path, guest("G")) as stage:
        stage.engine.may_spawn.clear()
        stage.supervisor.launch()
        await settle()
        settled = stage.guest().next_settled()
        stage.supervisor.stop(stage.guest())
        assert not settled.done()
        stage.engine.may_spawn.set()
        assert await settled is State.STOPPED
        assert stage.engine.instances[0].kills == 1


@in_event_loop
async def test_a_guest_that_is_stopped_before_its_turn_is_never_made(tmp_path: Path) -> None:
    names = [f"G{number}" for number in range(STARTS_AT_ONCE + 1)]
    async with stage_of(tmp_path, *map(guest, names)) as stage:
        stage.engine.may_spawn.clear()
        stage.supervisor.launch()
        await settle()
        last = stage.guest(names[-1])
        assert (last.state, last.instance) == (State.STARTING, None)
        stage.supervisor.stop(last)
        assert last.state is State.STOPPED
        stage.engine.may_spawn.set()
        await until(stage.guest(names[-2]), State.RUNNING)
        assert len(stage.engine.instances) == STARTS_AT_ONCE


@in_event_loop
async def test_a_guest_waits_for_those_that_it_comes_after(tmp_path: Path) -> None:
    async with stage_of(tmp_path, guest("A"), guest("B"), guest("C", after=("A", "B"))) as stage:
        stage.supervisor.launch()
        await until(stage.guest("B"), State.RUNNING)
        stage.engine.instances[0].report(READY)
        await settle()
        assert stage.guest("C").state is State.WAITING
        stage.engine.instances[1].report(READY)
        await until(stage.guest("C"), State.RUNNING)


@in_event_loop
async def test_a_guest_that_waits_may_be_started_or_stopped_by_hand(tmp_path: Path) -> None:
    async with stage_of(tmp_path, guest("A"), guest("B", after=("A",)), guest("C", after=("A",))) as stage:
        stage.supervisor.launch()
        stage.supervisor.start(stage.guest("B"))
        stage.supervisor.stop(stage.guest("C"))
        await until(stage.guest("B"), State.RUNNING)
        await until(stage.guest("A"), State.RUNNING)
        assert stage.guest("C").state is State.STOPPED
        for instance in stage.engine.instances:
            instance.report(READY)
        await stage.supervisor.wait_settled()
        assert (stage.guest("C").state, len(stage.engine.instances)) == (State.STOPPED, 2)


@in_event_loop
async def test_a_row_of_guests_longer_than_pythons_stack_fails_with_its_first(tmp_path: Path) -> None:
    count = 2000
    guests = [guest(f"G{n}", after=(f"G{n - 1}",) if n else ()) for n in range(count)]
    async with stage_of(tmp_path, *guests) as stage:
        stage.engine.refusals = ["no memory"]
        stage.supervisor.launch()
        each = list(stage.supervisor.guests.values())
        assert {one.state for one in each[1:]} == {State.WAITING}
        await stage.supervisor.wait_settled()
        assert {one.state for one in each} == {State.FAILED}
        assert each[-1].reason == f"not started, since it comes after G{count - 2}, which is failed"


@in_event_loop
async def test_a_guest_that_is_stopped_as_it_ends_has_its_end_recorded(tmp_path: Path) -> None:
    async with stage_of(tmp_path, guest("G")) as stage:
        stage.supervisor.launch()
        await until(stage.guest(), State.RUNNING)
        stage.engine.instances[0].report(READY)
        await until(stage.guest(), State.READY)
        stage.engine.instances[0].end(-signal.SIGSEGV)
        assert stage.guest().lives  # as far as anyone was told
        stage.supervisor.stop(stage.guest())
        await until(stage.guest(), State.STOPPED)
        instance = stage.guest().instance
        assert instance is not None
        assert (instance.ready, instance.exit_status) == (False, -signal.SIGSEGV)
        assert stage.registered == set()
