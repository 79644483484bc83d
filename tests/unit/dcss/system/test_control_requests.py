"""What a running system answers to its clients; the engine is a fake one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from client_support import connected_client
from cp_support import define, filler, private_directories, unique_system
from engine_support import READY, FakeEngine
from loop_support import in_event_loop, settle
from statistics_support import unread_recorder
from system_support import guest

from dcss.config.plan import GuestPlan, SystemPlan
from dcss.cp.program import ControlProgram
from dcss.errors import ConfigError, LaunchError
from dcss.system.guest import State
from dcss.system.log import SystemLog
from dcss.system.proof import Prover
from dcss.system.requests import Requests
from dcss.system.state import SystemState
from dcss.system.supervisor import Supervisor
from dcss.system.targets import guest_counters, objects_of, segment_targets, segment_users


class Client:
    """A client that keeps what it is sent."""

    def __init__(self) -> None:
        self.output: list[tuple[str, bytes]] = []

    async def send_output(self, output: Any) -> None:
        self.output.append((output.stream, output.data))


class Stage(SystemState):
    """A system of these guests with a real CP and a fake engine."""

    def __init__(self, directory: Path, *guests: GuestPlan) -> None:
        self.engine = FakeEngine()
        super().__init__(SystemPlan("SYS", (), guests, directory / "sys.yaml"), {"process": self.engine})
        self.cp = ControlProgram(unique_system())
        self.log = SystemLog(directory)
        self.statistics = unread_recorder(self.plan, self.cp)
        self.started_at = "2026-01-02T03:04:05Z"
        self.supervisor = Supervisor(
            self.plan,
            cp=self.cp,
            engines={"process": self.engine},
            tasks=self.tasks,
            log=self.log,
            on_settled=lambda _: None,
        )
        self.taken_down = 0
        self.prover = Prover(self)
        self._requests = Requests(self, self.prover, self._take_down)

    def _take_down(self) -> None:
        self.taken_down += 1

    async def start(self) -> None:
        """Launch all guests and have them be ready."""
        self.supervisor.launch()
        while len(self.engine.instances) < len(self.plan.guests):
            await asyncio.sleep(0)
        for instance in self.engine.instances:
            instance.report(READY)
        await self.supervisor.wait_settled()

    async def ask(self, request: str, **arguments: Any) -> Any:
        """Send a request as `dcss` does."""
        async with connected_client() as client:
            return await self._requests.handlers()[request](client, arguments)


@asynccontextmanager
async def staged(directory: Path, *guests: GuestPlan) -> AsyncIterator[Stage]:
    with private_directories():
        stage = Stage(directory, *guests)
        try:
            yield stage
        finally:
            await stage.tasks.close()
            stage.log.close()
            stage.cp.close()


@in_event_loop
async def test_ping_and_down_name_the_system_and_its_cp(tmp_path: Path) -> None:
    async with staged(tmp_path, guest("A"), guest("B")) as stage:
        assert await stage.ask("ping") == {"system": "SYS", "pid": os.getpid()}
        await stage.start()
        stage.engine.instances[1].end(0)
        await settle()
        assert await stage.ask("down") == {"system": "SYS", "pid": os.getpid(), "guests": 1}
        assert stage.taken_down == 1


@in_event_loop
async def test_ps_shows_cp_guests_and_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.9)
    async with staged(tmp_path, guest("A"), guest("B")) as stage:
        segment = await stage.cp.publish(define("LIB", "20000-200FF SR"), filler(b"x"))
        stage.supervisor.launch()
        while len(stage.engine.instances) < 2:
            await asyncio.sleep(0)
        stage.engine.instances[0].report(READY)
        stage.engine.instances[1].end(4)
        await stage.supervisor.wait_settled()
        Path(stage.cp.lock.directory, "B.log").write_text("no such file\n")
        found = await stage.ask("ps")
        assert segment.stored is not None
        shm = segment.stored.name
    directory = stage.cp.lock.directory
    good, bad = found.pop("guests")
    assert found == {
        "system": "SYS",
        "state": "publishing",
        "pid": os.getpid(),
        "since": "2026-01-02T03:04:05Z",
        "config": str(tmp_path / "sys.yaml"),
        "log": str(stage.log.path),
        "segments": [{"name": "LIB", "file": 1, "class": "A", "shm": shm, "bytes": 1 << 20, "guests": 0}],
    }
    assert good == {
        "name": "A",
        "engine": "process",
        "state": "ready",
        "since": "2001-09-09T01:46:40Z",
        "pid": 1,
        "segments": [],
        "restarts": 0,
        "exit_status": None,
        "reason": None,
        "log": f"{directory}/A.log",
    }
    assert (bad["state"], bad["exit_status"], bad["pid"]) == ("failed", 4, None)
    assert "no such file" in bad["reason"]


@in_event_loop
async def test_exec_passes_on_what_the_command_writes_and_its_status(tmp_path: Path) -> None:
    async with staged(tmp_path, guest("A")) as stage:
        await stage.start()
        stage.engine.instances[0].exec_lines = [b"one\n", b"two\n"]
        client = Client()
        handler = stage._requests.handlers()["exec"]
        assert await handler(client, {"guest": "A", "command": ["ls", "/usr", "-l"]}) == {"exit_status": 3}  # type: ignore[arg-type]
        assert client.output == [("stdout", b"one\n"), ("stdout", b"two\n")]
        assert stage.engine.instances[0].commands == [["ls", "/usr", "-l"]]


@pytest.mark.parametrize("command", [None, "ls", [], ["ls", 1], ["a\0b"], ["\ud800"]])
@in_event_loop
async def test_a_command_that_is_no_list_of_words_is_refused(tmp_path: Path, command: object) -> None:
    async with staged(tmp_path, guest("A")) as stage:
        await stage.start()
        with pytest.raises(ConfigError, match="exec: command: "):
            await stage.ask("exec", guest="A", command=command)
        assert stage.engine.instances[0].commands == []


@in_event_loop
async def test_exec_needs_a_guest_that_was_started(tmp_path: Path) -> None:
    async with staged(tmp_path, guest("A")) as stage:
        with pytest.raises(LaunchError, match="guest A: exec needs a guest that is ready; it is starting"):
            await stage.ask("exec", guest="A", command=["ls"])


@in_event_loop
async def test_a_guest_that_the_system_has_not_is_refused_with_those_it_has(tmp_path: Path) -> None:
    plans = [guest(f"LINUX{number:02}") for number in range(9)]
    async with staged(tmp_path, *plans[:8]) as stage:
        names = ", ".join(plan.name for plan in plans[:8])
        with pytest.raises(ConfigError) as caught:
            await stage.ask("guest", guest="LINUX1", action="stop")
        assert str(caught.value).startswith(f"guest: found 'LINUX1', wanted one of system SYS: {names} (")
        with pytest.raises(ConfigError, match="guest: found None"):
            await stage.ask("exec", command=["ls"])
        with pytest.raises(ConfigError, match="guest: found 5"):
            await stage.ask("exec", guest=5, command=["ls"])
    async with staged(tmp_path, *plans) as stage:
        with pytest.raises(ConfigError, match=rf"wanted one of system SYS: {names}, …"):
            await stage.ask("exec", guest="none", command=["ls"])


@pytest.mark.parametrize("action", [None, "pause", ["stop"]])
@in_event_loop
async def test_actions_that_there_are_not_are_refused(tmp_path: Path, action: object) -> None:
    async with staged(tmp_path, guest("A")) as stage:
        with pytest.raises(ConfigError, match=r"guest: action: found .*, wanted start, stop or restart"):
            await stage.ask("guest", guest="A", action=action)


@in_event_loop
async def test_a_guest_is_stopped_started_and_restarted(tmp_path: Path) -> None:
    async with staged(tmp_path, guest("A")) as stage:
        await stage.start()
        assert (await stage.ask("guest", guest="A", action="stop"))["state"] == "stopped"
        assert (await stage.ask("guest", guest="A", action="stop"))["state"] == "stopped"

        async def report_when_started(count: int) -> None:
            while len(stage.engine.instances) < count:
                await asyncio.sleep(0)
            stage.engine.instances[-1].report(READY)

        for count, action in ((2, "start"), (2, "start"), (3, "restart")):
            reporting = asyncio.create_task(report_when_started(count)) if count > len(stage.engine.instances) else None
            assert (await stage.ask("guest", guest="A", action=action))["state"] == "ready"
            assert len(stage.engine.instances) == count
            if reporting is not None:
                await reporting
        assert stage.supervisor.guests["A"].state is State.READY


@pytest.mark.parametrize("path", [5, "relative"])
@in_event_loop
async def test_evidence_needs_an_absolute_path(tmp_path: Path, path: object) -> None:
    async with staged(tmp_path) as stage:
        with pytest.raises(ConfigError, match="verify: evidence"):
            await stage.ask("verify", evidence=path)


@in_event_loop
async def test_objects_in_storage_are_described_by_what_cp_knows(tmp_path: Path) -> None:
    async with staged(tmp_path, guest("A")) as stage:
        segment = await stage.cp.publish(define("LIB", "20000-200FF SR"), filler(b"x"))
        assert segment.stored is not None
        (target,) = segment_targets(stage.cp)
        assert (target.name, target.type, target.size_bytes) == ("LIB", segment.definition.ranges[0].type, 1 << 20)
        assert (target.shm_name, target.start) == (segment.stored.name, 0x20000000)
        assert (target.descriptor, target.address) == (segment.stored.reader_fd, segment.stored.address)
        assert target.digest == segment.digest
        assert objects_of(stage.cp) == {segment.stored.name: segment.stored}
        assert segment_users(stage) == {"LIB": 0}


@in_event_loop
async def test_an_engine_that_counts_nothing_says_so_for_guests_that_are_ready(tmp_path: Path) -> None:
    async with staged(tmp_path, guest("A")) as stage:
        stage.supervisor.launch()
        while not stage.engine.instances:
            await asyncio.sleep(0)
        assert guest_counters(stage) == {}
        stage.engine.instances[0].report(READY)
        await stage.supervisor.wait_settled()
        assert guest_counters(stage) == {"A": "a fake counts nothing"}
        stage.engine.instances[0].no_counters_reason = None
        assert guest_counters(stage) == {}
