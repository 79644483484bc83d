"""What engines have in common whose guests are processes with a guest kernel in Python, forked by one server."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from errno import EMFILE
from typing import NoReturn

from dcss.config.plan import GuestPlan
from dcss.config.problems import ConfigProblem
from dcss.engines.base import GuestRefusedError, Port
from dcss.engines.forked.disks import OpenDisks, open_disks
from dcss.engines.forked.forkclient import Ended, ForkServer, Refused, Started, Template
from dcss.engines.forked.instance import ForkedInstance
from dcss.engines.forked.packets import PACKET_BYTES
from dcss.engines.forked.server_process import ServerProcess
from dcss.engines.forked.spec import spec_of
from dcss.host.aio import in_thread
from dcss.host.mark import Mark, end_marked
from dcss.host.process import has_ended_by
from dcss.host.rlimits import explain
from vmguest.hostmem import Reservation

_SHUTDOWN_SECONDS = 10.0  # for all that have something to write, at most
_END_SECONDS = 5.0  # for all that were killed, however many


class ForkedEngine:
    """Guests as processes of this machine; see dcss.engines.base.Engine.

    `server_module` is the module whose `main` is its fork server, `instance_type` what it makes.
    """

    name: str
    server_module: str
    instance_type: type[ForkedInstance] = ForkedInstance

    def __init__(self) -> None:
        self._server: ForkServer | None = None
        self._reservation: asyncio.Future[Reservation] | None = None  # known when the server has imported everything
        self._instances: dict[str, ForkedInstance] = {}  # those that have not ended
        self._templates: set[int] = set()  # processes that guests are cloned from
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._start_began = 0.0
        self._preparation: tuple[float, float] | None = None

    @property
    def preparation(self) -> tuple[float, float] | None:
        """From when to when the fork server started and imported what guests need; None while it does."""
        return self._preparation

    @property
    def pids(self) -> tuple[int, ...]:
        """The fork server's process, and those of templates."""
        return () if self._server is None else (self._server.pid, *sorted(self._templates))

    def check(self, guests: Sequence[GuestPlan]) -> Sequence[ConfigProblem]:
        """Return a problem for each guest whose specification does not fit into the packet that asks for it."""
        problems = {}
        for guest in guests:  # those of one entry of the YAML differ in their names alone
            size_bytes = len(spec_of(guest).pack())
            if size_bytes > PACKET_BYTES:
                problems[guest.where] = ConfigProblem(
                    f"{guest.where}: mounts and run",
                    f"{size_bytes} bytes for guest {guest.name}",
                    f"at most {PACKET_BYTES}",
                    "let a pattern stand for many files",
                )
        return tuple(problems.values())

    async def start(self, log: int, mark: Mark) -> None:
        """Start the fork server, which goes on importing while segments are published."""
        process = ServerProcess.of(self.server_module, mark)
        self._mark, self._start_began = mark, process.began
        self._server = ForkServer(process, log)
        self._reservation = asyncio.get_running_loop().create_future()

    async def serve(self) -> NoReturn:
        """Take what the fork server reports."""
        assert self._server is not None and self._reservation is not None, "it was started"
        self._reservation.set_result(await self._server.reservation())
        self._preparation = self._start_began, time.monotonic()
        while True:
            event = await self._server.event()
            match event:
                case Started():
                    instance = self._instances[event.name]
                    instance.pid, instance.pidfd = event.pid, event.pidfd
                    self._settle(event.name, None)
                case Refused():
                    instance = self._instances.pop(event.name)
                    await instance.close()
                    self._settle(event.name, GuestRefusedError(event.reason))
                case Ended():
                    self._instances.pop(event.name).process_ended(event.status)
                case Template(ended=False):
                    self._templates.add(event.pid)
                case Template():
                    self._templates.discard(event.pid)

    async def spawn(self, plan: GuestPlan, port: Port, log: int) -> ForkedInstance:
        """Have a guest forked."""
        assert self._server is not None, "it was started"
        instance = await self._request(self._server, plan, port, log)
        if instance.pidfd is None and instance.pid is not None and instance.exit_status is None:
            # What cannot be held must not run: it is not served, and ends.
            await self._server.kill(instance.pid)
            await instance.ended()
            raise GuestRefusedError(explain(OSError(EMFILE, os.strerror(EMFILE))))
        instance.serve()
        return instance

    async def close(self) -> None:
        """End the fork server, which ends all guests, and wait for them."""
        if self._server is None:
            return
        await self._shut_down_writers()
        await self._server.close()
        left = list(self._instances.values())
        await in_thread(_wait_for, left)
        if not self._server.ended_well:  # else nothing is left, and what other engines run has the same mark
            await in_thread(end_marked, self._mark.__eq__)
        for instance in left:
            await instance.close()
        self._instances.clear()

    async def _shut_down_writers(self) -> None:
        """Have guests that write to files of this machine write what they hold back, and end, before all are killed."""
        ending = [instance for instance in self._instances.values() if instance.shut_down()]
        if ending:
            await in_thread(_wait_until_ended, ending)

    async def _request(self, server: ForkServer, plan: GuestPlan, port: Port, log: int) -> ForkedInstance:
        """Ask the server for a guest and wait until it has a process; a descriptor may be missing for it."""
        assert self._reservation is not None, "the server was started"
        reservation = await asyncio.shield(self._reservation)
        with ExitStack() as ours, ExitStack() as theirs:
            port_socket, their_port = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.enter_context(port_socket)
            theirs.enter_context(their_port)
            console, their_console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.enter_context(console)
            theirs.enter_context(their_console)
            disks = await in_thread(open_disks, plan.disks, theirs) if plan.disks else OpenDisks()
            instance = self.instance_type(
                plan.name,
                reservation,
                port,
                port_socket,
                console,
                disks=disks,
                storage_bytes=plan.storage_bytes,
            )
            started = self._starting[plan.name] = asyncio.get_running_loop().create_future()
            self._instances[plan.name] = instance
            try:
                await server.spawn(spec_of(plan), their_port, their_console, log, disks.descriptors)
            except BaseException:
                del self._starting[plan.name], self._instances[plan.name]
                raise
            ours.pop_all()
        await started
        return instance

    def _settle(self, name: str, error: GuestRefusedError | None) -> None:
        started = self._starting.pop(name)
        if started.done():  # nobody waits any more: all is being taken down
            return
        if error is None:
            started.set_result(None)
        else:
            started.set_exception(error)


def _wait_until_ended(instances: Sequence[ForkedInstance]) -> None:
    """Wait until guests have ended by themselves, for as long as a shutdown may take."""
    deadline = time.monotonic() + _SHUTDOWN_SECONDS
    for instance in instances:
        if instance.pid is not None and instance.pidfd is not None:
            has_ended_by(instance.pidfd, instance.pid, deadline)


def _wait_for(instances: Sequence[ForkedInstance]) -> None:
    """Wait for the processes of guests. Their server has ended, so they are this process's children.

    One that waits in the kernel, for a file system that does not answer, ends when that does: it is not waited for.
    """
    deadline = time.monotonic() + _END_SECONDS
    for instance in instances:
        if instance.pid is None:
            continue
        which, number, options = os.P_PID, instance.pid, os.WEXITED
        if instance.pidfd is not None:
            has_ended_by(instance.pidfd, instance.pid, deadline)
            which, number, options = os.P_PIDFD, instance.pidfd, os.WEXITED | os.WNOHANG
        with suppress(ChildProcessError):  # the server had waited for it
            os.waitid(which, number, options)
