"""What CP and a real fork server say to one another about guests that start, end, and cannot be started."""

import asyncio
import os
import select
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from loop_support import in_event_loop
from system_support import wait_gone

from dcss.abi.console import PACKET_BYTES, START, VERDICT, Start, Verdict
from dcss.engines.forked.forkclient import Ended, ForkServer, Refused, Started, Template
from dcss.engines.forked.server_process import ServerProcess
from dcss.engines.process.engine import ProcessEngine
from dcss.errors import LaunchError
from dcss.host.mark import Mark
from vmguest.spec import GuestSpec


class Stage:
    """A fork server and the host's ends of its guests' consoles."""

    def __init__(self, server: ForkServer, log: int, directory: Path) -> None:
        self.server, self.log, self.directory = server, log, directory
        self.consoles: dict[str, socket.socket] = {}

    async def ask(self, spec: GuestSpec, missing: int = 0) -> Started | Refused | Ended | Template:
        """Ask for a guest, with so many descriptors less than it needs; return the next event."""
        port, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.consoles[spec.name], console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with port, theirs, console:
            if missing:
                await self.server._send(spec.pack(), [port.fileno(), console.fileno(), self.log][missing:])
            else:
                await self.server.spawn(spec, port, console, self.log, [])
        return await self.server.event()

    async def start(self, name: str) -> Started:
        """Start a guest and wait for its verdict."""
        event = await self.ask(GuestSpec(name, 16 << 20, (), (), (("exec", "echo", f"this is {name}"),)))
        assert isinstance(event, Started)
        self.consoles[name].settimeout(60)
        assert await asyncio.to_thread(self.consoles[name].recv, PACKET_BYTES) == START + Start(cloned=False).pack()
        packet = await asyncio.to_thread(self.consoles[name].recv, PACKET_BYTES)
        assert packet[:1] == VERDICT
        assert Verdict.unpack(packet[1:]).exit_status == 0
        return event


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[Stage]:
    with (directory / "log").open("wb") as log:
        server = ForkServer(ServerProcess(ProcessEngine.server_module, Mark.of_this_process("none")), log.fileno())
        stage = Stage(server, log.fileno(), directory)
        try:
            reservation = await server.reservation()
            assert reservation.window_bytes > 1 << 38
            yield stage
        finally:
            await server.close()
            for console in stage.consoles.values():
                console.close()


def has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


@in_event_loop
async def test_guests_start_end_and_are_killed_each_by_itself(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        first, second, third = [await stage.start(name) for name in ("A", "B", "C")]
        pidfds = [pidfd for _, _, pidfd in (first, second, third) if pidfd is not None]
        assert len(pidfds) == 3
        assert [each.name for each in (first, second, third)] == ["A", "B", "C"]
        assert Path(f"/proc/{first.pid}/comm").read_text() == "dcss:A\n"
        status = Path(f"/proc/{first.pid}/status").read_text()
        assert f"PPid:\t{stage.server.pid}\n" in status
        # A process that is no guest, or none any more, is not killed.
        for pid in (os.getpid(), stage.server.pid):
            await stage.server.kill(pid)
        await stage.server.kill(second.pid)
        assert await stage.server.event() == Ended("B", second.pid, -signal.SIGKILL)
        await stage.server.kill(second.pid)
        stage.consoles["A"].shutdown(socket.SHUT_WR)
        assert await stage.server.event() == Ended("A", first.pid, 0)
        assert [has_ended(pidfd) for pidfd in pidfds] == [True, True, False]
        assert (tmp_path / "log").read_text().count("this is") == 3
    wait_gone(first.pid, second.pid, third.pid)
    assert has_ended(pidfds[2])
    for pidfd in pidfds:
        os.close(pidfd)


@in_event_loop
async def test_a_server_that_was_begun_before_there_was_a_log_writes_to_it_later(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        event = await stage.start("A")
        for number in (1, 2):
            assert Path(f"/proc/{stage.server.pid}/fd/{number}").readlink() == tmp_path / "log"
        assert event.pidfd is not None
        os.close(event.pidfd)


@in_event_loop
async def test_a_guest_whose_descriptors_did_not_all_come_is_refused_and_the_next_one_starts(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        for name, missing in (("ONE", 1), ("TWO", 2)):
            event = await stage.ask(GuestSpec(name, 16 << 20, (), (), ()), missing)
            assert isinstance(event, Refused)
            assert event.name == name
            assert "Too many open files" in event.reason
        started = await stage.start("B")
        assert started.pidfd is not None
        os.close(started.pidfd)


@in_event_loop
async def test_a_server_that_is_gone_is_an_error_that_says_how_it_ended(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        guest = await stage.start("A")
        assert guest.pidfd is not None
        os.kill(stage.server.pid, signal.SIGTERM)  # not SIGKILL, with which the guest would go by itself
        message = rf"fork server \(process {stage.server.pid}\) ended with status 143; its guests ended with it"
        with pytest.raises(LaunchError, match=message):
            while True:
                await stage.server.event()
        with pytest.raises(LaunchError, match=message):
            await stage.server.kill(guest.pid)
        assert has_ended(guest.pidfd)
        os.close(guest.pidfd)


@in_event_loop
async def test_guests_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        guest = await stage.start("A")
        assert guest.pidfd is not None
        os.kill(stage.server.pid, signal.SIGKILL)
        with pytest.raises(LaunchError, match="ended by signal 9"):
            await stage.server.event()
        wait_gone(guest.pid)
        os.close(guest.pidfd)
