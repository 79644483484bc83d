"""An engine without any process: tests decide when its guests are ready, what they answer, and how they end."""

import asyncio
import signal
from collections.abc import Sequence
from typing import NoReturn

from dcss.abi.console import Counters, FileAccess, Start, Verdict
from dcss.abi.timings import Span
from dcss.account.targets import AddressRange
from dcss.config.plan import GuestPlan
from dcss.config.problems import ConfigProblem
from dcss.engines.base import Accelerator, End, ExecOptions, GuestRefusedError, MemoryLayout, OutputSink, Port
from dcss.errors import LaunchError
from dcss.host.mark import Mark

READY = Verdict(0, 0.1, 0, 0, 0)


class FakeInstance:
    """One run of a guest that exists in this object only. `kill` ends it, unless it is `immortal`."""

    def __init__(self, plan: GuestPlan, port: Port, pid: int) -> None:
        loop = asyncio.get_running_loop()
        self.plan, self.port = plan, port
        self.pids: tuple[int, ...] = (pid,)
        self.no_counters_reason: str | None = "a fake counts nothing"
        self.accelerator: Accelerator | None = None
        self.access: tuple[FileAccess, ...] = ()
        self.boot: Start | None = None
        self.spans: list[Span] = []
        self.immortal = False
        self.kills = 0
        self.commands: list[list[str]] = []
        self.exec_lines: list[bytes] = []
        self._verdict: asyncio.Future[Verdict | None] = loop.create_future()
        self._ended: asyncio.Future[End] = loop.create_future()

    def report(self, verdict: Verdict) -> None:
        """Have its `run:` list end."""
        self._verdict.set_result(verdict)

    def end(self, status: int, reason: str = "") -> None:
        """Have it end."""
        self.pids = ()
        if not self._verdict.done():
            self._verdict.set_result(None)
        self._ended.set_result(End(status, reason))

    async def verdict(self) -> Verdict | None:
        return await asyncio.shield(self._verdict)

    async def ended(self) -> End:
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        self.kills += 1
        if not self.immortal and not self._ended.done():
            self.end(-signal.SIGKILL)

    async def exec(self, command: Sequence[str], output: OutputSink, options: ExecOptions | None = None) -> int:
        self.commands.append(list(command))
        for line in self.exec_lines:
            await output(False, line)
        return len(command)

    async def counters(self) -> Counters | None:
        return None

    def read_storage(self, write_fd: int, address: int, size_bytes: int) -> None:
        raise OSError("a fake has no storage")

    def memory(self) -> MemoryLayout:
        return MemoryLayout(AddressRange(0, 1), AddressRange(1, 2))


class FakeEngine:
    """Starts FakeInstances. `refusals` are the reasons for which the next starts fail; `lost` ends the engine."""

    name = "process"  # the plans of these tests say so
    preparation: tuple[float, float] | None = None

    def __init__(self) -> None:
        self.started = self.closed = False
        self.instances: list[FakeInstance] = []
        self.refusals: list[str] = []
        self.problems: list[ConfigProblem] = []
        self.may_spawn = asyncio.Event()
        self.may_spawn.set()
        self.lost = asyncio.Event()
        self.pids: tuple[int, ...] = ()

    def check(self, guests: Sequence[GuestPlan]) -> Sequence[ConfigProblem]:
        return self.problems

    async def start(self, log: int, mark: Mark) -> None:
        self.started = True

    async def serve(self) -> NoReturn:
        await self.lost.wait()
        raise LaunchError("the engine is lost")

    async def spawn(self, plan: GuestPlan, port: Port, log: int) -> FakeInstance:
        await self.may_spawn.wait()
        if self.refusals:
            raise GuestRefusedError(self.refusals.pop(0))
        instance = FakeInstance(plan, port, pid=len(self.instances) + 1)
        self.instances.append(instance)
        return instance

    async def close(self) -> None:
        self.closed = True
        for instance in self.instances:
            instance.kill()
