"""A running system: CP, the engines, the guests and the control socket, all served by one event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

from dcss.account.machine import free_memory_bytes
from dcss.config.plan import SystemPlan
from dcss.cp.program import ControlProgram
from dcss.cp.statistics import StatisticsArea
from dcss.engines.base import Engine
from dcss.engines.registry import ENGINES
from dcss.errors import ConfigError, LaunchError
from dcss.host.aio import cancel, start_workers, uninterrupted
from dcss.host.libc import use_one_arena
from dcss.host.mark import Mark
from dcss.host.prctl import adopt_orphans
from dcss.host.rlimits import raise_descriptor_limit
from dcss.host.text import utc_now
from dcss.progress import Progress
from dcss.results import GuestOutcome
from dcss.rpc.server import ControlServer
from dcss.system.log import Echo, SystemLog
from dcss.system.proof import Prover
from dcss.system.publish import publish_segments
from dcss.system.requests import Requests
from dcss.system.state import Phase, SystemState
from dcss.system.statistics import StatisticsRecorder
from dcss.system.supervisor import Supervisor

Answer = TypeVar("Answer")


class TakenDownError(LaunchError):
    """Someone had the system taken down before it was up."""


class System(SystemState):
    """One system from its CP's start to its end; leaving the `async with` block takes everything down.

    `echo` gets each line of the log. Entering raises SystemBusyError, and LaunchError where the machine's limits cannot
    carry the plan; making it raises ConfigError for guests that no engine can run.
    """

    prover: Prover
    _end: asyncio.Future[None]  # done when the system is to end: by an error, or since someone asked for it

    def __init__(
        self,
        plan: SystemPlan,
        progress: Progress,
        *,
        echo: Echo | None = None,
        engines: Mapping[str, Callable[[], Engine]] = ENGINES,
    ) -> None:
        super().__init__(plan, make_engines(plan, engines))
        self._progress, self._echo = progress, echo
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        raise_descriptor_limit(len(self.plan.guests), len(self.plan.segments))
        adopt_orphans()
        use_one_arena()
        loop = asyncio.get_running_loop()
        start_workers(loop)
        self._end = loop.create_future()
        try:
            await self._start(loop)
        except BaseException:
            await uninterrupted(self._stack.aclose())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await uninterrupted(self._stack.aclose())

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        stack = self._stack
        self.cp = stack.enter_context(ControlProgram(self.plan.name))
        self.started_at = utc_now()
        self.log = SystemLog(self.cp.lock.directory, self._echo)
        stack.callback(self.log.close)
        if self.cp.swept:
            self.log.note(f"removed what a CP that was killed left: {', '.join(self.cp.swept)}")
        self.cp.report_findings(self._warn, self.log.note)
        stack.callback(loop.set_exception_handler, loop.get_exception_handler())
        loop.set_exception_handler(self._on_unhandled)
        stack.callback(self._end.cancel)
        for engine in self.engines.values():
            # Started before anything is published: no guest can inherit what CP holds.
            stack.push_async_callback(engine.close)
            await engine.start(self.log.descriptor, Mark.of_this_process(self.plan.name))
        stack.push_async_callback(self.tasks.close)
        for engine in self.engines.values():
            self.tasks.start(engine.serve(), f"engine {engine.name}")
        self._open_statistics(stack)
        self.supervisor = Supervisor(
            self.plan,
            cp=self.cp,
            engines=self.engines,
            tasks=self.tasks,
            log=self.log,
            on_settled=lambda _: self._progress.advance(),
            on_state=self.statistics.guest_changed,
        )
        for guest in self.supervisor.guests.values():
            self.statistics.guest_changed(guest)
        self.prover = Prover(self)
        handlers = Requests(self, self.prover, self.take_down).handlers()
        server = ControlServer(self.cp.lock.directory, handlers, self.log.note)
        stack.push_async_callback(server.close)
        server.start()
        self._enter_phase("publishing")
        self._area.announce()

    def _open_statistics(self, stack: AsyncExitStack) -> None:
        self._area = StatisticsArea(self.plan.name, len(self.plan.guests))
        stack.callback(self._area.close)
        if self._area.problem:
            self._warn(f"{self._area.problem}; dcss ps asks CP instead")
        self.statistics = StatisticsRecorder(self.plan, self.cp, self._area)
        self.cp.observe(self.statistics.hypercall, self.statistics.segment_changed)

    def _enter_phase(self, phase: Phase) -> None:
        self.phase = phase
        helpers = [pid for engine in self.engines.values() for pid in engine.pids]
        self.statistics.system_changed(phase, self.started_at, helpers)

    async def publish(self) -> None:
        """Put every segment of the plan into shared memory.

        Raises ConfigError, ImageError, PublishError, SpoolError, TakenDownError.
        """
        await self._until_end(publish_segments(self.cp, self.plan, self._progress, self.prover.extents))

    def launch(self) -> None:
        """Start every guest of the plan, a few at a time."""
        self.free_before_bytes = free_memory_bytes()
        self._progress.phase("start guests", len(self.plan.guests), "guests")
        self._enter_phase("starting")
        self.supervisor.launch()

    async def wait(self) -> None:
        """Wait until each guest's `run:` list has ended, well or not. Raises TakenDownError, LaunchError."""
        await self._until_end(self.supervisor.wait_settled())
        self._enter_phase("up")

    async def serve(self) -> None:
        """Serve guests and clients until one of these has the system taken down. Raises LaunchError."""
        await asyncio.wait([self._end])
        self._end.result()

    def take_down(self) -> None:
        """Have `publish`, `wait` and `serve` end."""
        if not self._end.done():
            self._end.set_result(None)

    def outcomes(self) -> tuple[GuestOutcome, ...]:
        """Return how each guest's last start ended, or how it does so far."""
        return tuple(guest.outcome() for guest in self.supervisor.guests.values())

    async def _until_end(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Return what `work` does, or raise why the system ends before that."""
        task = asyncio.ensure_future(work)
        try:
            waited: list[asyncio.Future[Any]] = [task, self._end]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self._end.result()
                raise TakenDownError(f"system {self.plan.name}: taken down while it was {self.phase}")
            return task.result()
        finally:
            await cancel(task)

    def _on_unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End the system by the first error that a callback or a task raised; the log gets the others."""
        error = context.get("exception")
        if not isinstance(error, Exception):
            loop.default_exception_handler(context)
        elif not self._end.done():
            self._end.set_exception(error)
            self._end.exception()  # asyncio need not warn if the system is closed before anyone awaits this
        else:
            self.log.note(f"{context['message']}: {error!r}")

    def _warn(self, finding: str) -> None:
        self.log.note(f"warning: {finding}")
        if self.phase != "up":  # afterwards nobody looks at the progress
            self._progress.warn(finding)


def make_engines(plan: SystemPlan, engines: Mapping[str, Callable[[], Engine]]) -> Mapping[str, Engine]:
    """Make the engines that the plan's guests run on. Raises ConfigError for guests that none of them can run."""
    unknown = [
        f"{guest.where}: engine: found {guest.engine}, wanted {', '.join(engines)} (others are not built yet)"
        for guest in plan.guests
        if guest.engine not in engines
    ]
    if unknown:
        raise ConfigError(*unknown)
    names = dict.fromkeys(guest.engine for guest in plan.guests)
    made: dict[str, Engine] = {name: engines[name]() for name in names}
    problems = [
        str(problem)
        for name, engine in made.items()
        for problem in engine.check([guest for guest in plan.guests if guest.engine == name])
    ]
    if problems:
        raise ConfigError(*problems)
    return MappingProxyType(made)
