"""A system whose guests run on an engine without any process, from its start to its end, by the same supervisor."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cp_support import private_directories, unique_system
from engine_support import READY, FakeEngine
from loop_support import in_event_loop
from system_support import guest

from dcss.config.plan import GuestPlan, SystemPlan
from dcss.config.problems import ConfigProblem
from dcss.errors import ConfigError, LaunchError
from dcss.progress import SilentProgress
from dcss.system.guest import Guest, State
from dcss.system.system import System


@asynccontextmanager
async def system_of(engine: FakeEngine, *guests: GuestPlan) -> AsyncIterator[System]:
    with private_directories():
        plan = SystemPlan(unique_system(), (), guests, Path("/fake.yaml"))
        async with System(plan, SilentProgress(), engines={"process": lambda: engine}) as system:
            yield system


async def until(one: Guest, state: State) -> None:
    while one.state is not state:
        await asyncio.sleep(0.001)


@in_event_loop
async def test_a_whole_life() -> None:
    engine = FakeEngine()
    engine.refusals = ["no more of these"]
    async with system_of(engine, guest("A", restart="on-failure"), guest("B", dcssblk=(), mounts=())) as system:
        assert engine.started
        await system.publish()
        system.launch()
        a, b = system.supervisor.guests.values()
        await until(a, State.RESTARTING)
        assert (a.reason, a.restarts) == ("no more of these", 1)
        await until(a, State.RUNNING)
        await until(b, State.RUNNING)
        for instance in engine.instances:
            instance.report(READY)
        await system.wait()
        assert (a.state, b.state, a.reason) == (State.READY, State.READY, "")

        assert a.instance is not None
        running = next(each for each in engine.instances if each.plan.name == "A")
        running.exec_lines = [b"one\n", b"two\n"]
        lines = []

        async def take(is_error: bool, data: bytes) -> None:
            lines.append((is_error, data))

        assert await a.instance.exec(["ls", "/"], take) == 2
        assert (running.commands, lines) == ([["ls", "/"]], [(False, b"one\n"), (False, b"two\n")])
        await a.instance.refresh_counters()
        assert a.instance.counters is None, "it counts nothing"

        running.end(-11)  # by itself: it is started again
        await until(a, State.RESTARTING)
        await until(a, State.RUNNING)
        assert a.restarts == 2
        settled = a.next_settled()
        system.supervisor.stop(a)
        assert await settled is State.STOPPED
        with pytest.raises(LaunchError, match="exec needs a guest that is ready; it has ended"):
            await a.instance.exec(["ls"], take)
        assert b.state is State.READY
        system.take_down()
        await system.serve()
    assert engine.closed


@in_event_loop
async def test_an_engine_that_is_lost_ends_the_system() -> None:
    engine = FakeEngine()
    with pytest.raises(LaunchError, match="the engine is lost"):
        async with system_of(engine, guest("A", dcssblk=(), mounts=())) as system:
            await system.publish()
            system.launch()
            engine.lost.set()
            await system.wait()
    assert engine.closed


@in_event_loop
async def test_a_fault_in_a_guests_life_ends_the_system_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()

    def fault(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(ZeroDivisionError, match="by nothing"):
        async with system_of(engine, guest("A", dcssblk=(), mounts=())) as system:
            await system.publish()
            system.launch()
            await until(system.supervisor.guests["A"], State.RUNNING)
            monkeypatch.setattr(Guest, "next_delay_seconds", fault)
            engine.instances[0].end(1)
            await system.serve()
    assert engine.closed


@in_event_loop
async def test_what_an_engine_cannot_run_is_a_finding_with_what_mends_it() -> None:
    engine = FakeEngine()
    engine.problems = [ConfigProblem("a.yaml:7: guest A", "no kernel", "one", "give it kernel:")]
    with pytest.raises(ConfigError, match=r"a\.yaml:7: guest A: found no kernel, wanted one \(give it kernel:\)"):
        async with system_of(engine, guest("A")):
            pass
    assert not engine.started


@in_event_loop
async def test_a_warning_is_shown_while_somebody_looks_and_logged_always() -> None:
    shown = io.StringIO()
    with private_directories():
        plan = SystemPlan(unique_system(), (), (), Path("/fake.yaml"))
        async with System(plan, SilentProgress(shown), engines={}) as system:
            system._warn("while it starts")
            system.launch()
            await system.wait()
            system._warn("when it is up")
            log = system.log.path.read_text()
    assert shown.getvalue() == "warning: while it starts\n"
    assert [line.partition("warning: ")[2] for line in log.splitlines()[-2:]] == ["while it starts", "when it is up"]
