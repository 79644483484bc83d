"""The guests of a system: started a few at a time, watched, and started again where their policy says so."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from dcss.abi.hypercall import Reply, Request
from dcss.config.plan import GuestPlan, SystemPlan
from dcss.cp.program import ControlProgram
from dcss.engines.base import Engine, GuestRefusedError, Port
from dcss.host.aio import TaskSet
from dcss.host.process import wants_processor
from dcss.host.rlimits import explain
from dcss.host.text import utc_now
from dcss.system.guest import Guest, State
from dcss.system.instance import GuestInstance
from dcss.system.log import SystemLog

STARTS_AT_ONCE = 8  # an engine makes one process after the other: more requests would only wait there
_EXIT_SECONDS = 2.0  # for so long a guest may live on that reported that it failed
_EXIT_LOOKS = 15  # so often that time, where it wants a processor to end: on a busy machine that takes long


class Supervisor:
    """All guests of one plan. `on_settled` is called with each guest once, when its first start has settled.

    That is so when it is ready, or has failed and is not soon started again. `on_state` is called with a guest whenever
    it has entered a state.
    """

    def __init__(
        self,
        plan: SystemPlan,
        *,
        cp: ControlProgram,
        engines: Mapping[str, Engine],
        tasks: TaskSet,
        log: SystemLog,
        on_settled: Callable[[Guest], None],
        on_state: Callable[[Guest], None] = lambda _: None,
    ) -> None:
        self.guests = {guest.name: Guest(guest) for guest in plan.guests}
        self._cp, self._engines, self._tasks, self._log = cp, engines, tasks, log
        self._on_settled, self._on_state = on_settled, on_state
        self._slots = asyncio.Semaphore(STARTS_AT_ONCE)
        self._unsettled = set(self.guests)
        self._all_settled = asyncio.Event()
        # How the first start of a guest came out, for those that come after it.
        self._first: dict[str, asyncio.Future[tuple[str, State]]] = {}

    def launch(self) -> None:
        """Start every guest, those with `after:` once all that they come after are ready."""
        loop = asyncio.get_running_loop()
        self._first = {name: loop.create_future() for name in self.guests}
        if not self.guests:
            self._all_settled.set()
        for guest in self.guests.values():
            if guest.plan.after:
                self._enter(guest, State.WAITING)
                self._begin(guest, after=guest.plan.after)
            else:
                self.start(guest)

    async def wait_settled(self) -> None:
        """Wait until the first start of every guest has settled."""
        await self._all_settled.wait()

    def start(self, guest: Guest) -> None:
        """Start a guest that does not live, as soon as it is its turn."""
        guest.wanted, guest.reason = True, ""
        self._enter(guest, State.STARTING)
        self._begin(guest)

    def stop(self, guest: Guest) -> None:
        """Kill a guest's process, or call off its next start. It is stopped once its process has ended."""
        guest.wanted = False
        if guest.requested or (guest.instance is not None and guest.instance.running_or_ending):
            if guest.instance is not None:
                guest.instance.kill()  # one that is being started is killed when it has a process
            return
        if guest.life is not None:
            guest.life.cancel()
        self._enter(guest, State.STOPPED)

    def kill_all(self) -> None:
        """Kill every guest, since all is being taken down."""
        for guest in self.guests.values():
            guest.wanted = False
            if guest.instance is not None:
                guest.instance.kill()

    def _begin(self, guest: Guest, after: tuple[str, ...] = ()) -> None:
        if guest.life is not None:
            guest.life.cancel()  # waits for its next start, or for other guests
        guest.life = self._tasks.start(self._live(guest, after), f"guest {guest.name}")

    async def _live(self, guest: Guest, after: tuple[str, ...]) -> None:
        """Take a guest from its start to its last end."""
        if not await self._dependencies_ready(guest, after):
            return
        while True:
            state, failure = await self._run_once(guest)
            if not guest.wanted:
                self._enter(guest, State.STOPPED)
                return
            delay_seconds = guest.next_delay_seconds()
            if delay_seconds is None:
                self._log.note(f"guest {guest.name}: {failure}")
                self._enter(guest, state)
                return
            guest.consecutive_failures += 1
            guest.restarts += 1
            self._log.note(f"guest {guest.name}: {failure}; it is started again in {delay_seconds:g} s")
            self._enter(guest, State.RESTARTING)
            await asyncio.sleep(delay_seconds)
            guest.reason = ""
            self._enter(guest, State.STARTING)

    async def _dependencies_ready(self, guest: Guest, after: tuple[str, ...]) -> bool:
        """Wait for the guests that this one comes after; fail it where one of them does not become ready."""
        for settled in asyncio.as_completed([self._first[name] for name in after]):
            name, state = await settled
            if state is not State.READY:
                guest.reason = f"not started, since it comes after {name}, which is {state}"
                self._log.note(f"guest {guest.name}: {guest.reason}")
                self._enter(guest, State.FAILED)
                return False
        return True

    async def _run_once(self, guest: Guest) -> tuple[State, str]:
        """Start a guest and watch it until it has ended; return the state that it then is in, and why."""
        try:
            instance = await self._spawn(guest)
        except (OSError, GuestRefusedError) as error:
            guest.reason = explain(error) if isinstance(error, OSError) else str(error)
            return State.FAILED, guest.reason
        try:
            await self._watch(guest, instance)
        finally:
            self._cp.release(guest.name)
        assert instance.end is not None, "it was watched to its end"
        guest.reason = instance.end.reason
        return State.KILLED if instance.killed else State.FAILED, instance.failure()

    async def _spawn(self, guest: Guest) -> GuestInstance:
        """Have an engine start a guest. Raises GuestRefusedError or OSError: this one cannot be started."""
        plan = guest.plan
        async with self._slots:
            again = guest.instance is not None
            guest.instance = instance = GuestInstance(plan, self._cp.lock.directory / f"{plan.name}.log")
            if again or guest.state is not State.STARTING:  # else whoever looks sees just that already
                self._enter(guest, State.STARTING)
            guest.requested = True
            try:
                with _guest_log(instance.log_path, again=again) as log:
                    self._register(plan, instance)
                    instance.running = await self._engines[plan.engine].spawn(plan, self._port_of(plan.name), log)
            except BaseException:
                self._cp.release(plan.name)
                raise
            finally:
                guest.requested = False
        self._enter(guest, State.RUNNING)
        if not guest.wanted:
            instance.kill()
        return instance

    async def _watch(self, guest: Guest, instance: GuestInstance) -> None:
        verdict = await instance.wait_verdict()
        if verdict is None:
            pass
        elif verdict.exit_status == 0:
            if guest.wanted:  # otherwise it is being killed, and whoever waits, waits for its end
                self._enter(guest, State.READY)
        else:
            await self._end_failed(instance)
        await instance.wait_ended()

    @staticmethod
    async def _end_failed(instance: GuestInstance) -> None:
        """Let a guest end that reported that it failed; kill one that lives on."""
        for _ in range(_EXIT_LOOKS):
            with suppress(TimeoutError):
                await instance.wait_ended(_EXIT_SECONDS)
                return
            if not any(map(wants_processor, instance.pids)):
                break
        instance.kill()

    def _register(self, plan: GuestPlan, instance: GuestInstance) -> None:
        self._cp.register(
            plan.name,
            storage_bytes=plan.storage_bytes,
            namesave=frozenset(plan.namesave),
            privilege=plan.privilege,
            dump=instance.read_storage,
        )

    def _port_of(self, name: str) -> Port:
        async def port(request: Request) -> Reply:
            return await self._cp.handle(name, request)

        return port

    def _enter(self, guest: Guest, state: State) -> None:
        guest.enter(state)
        self._on_state(guest)
        if guest.settled and guest.name in self._unsettled:
            self._unsettled.remove(guest.name)
            self._on_settled(guest)
            first = self._first.get(guest.name)
            if first is not None:
                first.set_result((guest.name, state))
            if not self._unsettled:
                self._all_settled.set()


@contextmanager
def _guest_log(path: Path, *, again: bool) -> Iterator[int]:
    """Open a guest's log for appending; a line marks where a further start begins."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        if again:
            with suppress(OSError):  # a full disk
                os.write(log, f"--- started again {utc_now()} ---\n".encode())
        yield log
    finally:
        os.close(log)
