"""One run of a guest in a process: what it is before it has one, while it lives, and afterwards."""

import asyncio
import gc
import os
import signal
import socket
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loop_support import in_event_loop

from dcss.abi.console import VERDICT, Verdict
from dcss.abi.hypercall import REPLY, Reply, Request
from dcss.account.targets import AddressRange
from dcss.engines.base import End, MemoryLayout
from dcss.engines.forked.disks import OpenDisks
from dcss.engines.forked.instance import ForkedInstance
from vmguest.hostmem import Reservation

READY = Verdict(0, 0.5, 1, 2, 3)


class Stage:
    """An instance whose process the test makes, and the guest's ends of its sockets."""

    def __init__(self, disks: OpenDisks | None = None) -> None:
        port, self.port = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console, self.console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.port.setblocking(False)
        reservation = Reservation(0x1000, 0x4000, 0x10000, 0x2000, 0x20000, 0x1000)
        self.instance = ForkedInstance("LINUX01", reservation, self._answer, port, console, disks=disks)

    async def _answer(self, request: Request) -> Reply:
        return Reply(0, request.rx)

    def fork(self) -> int:
        """Give it a process."""
        pid = os.fork()
        if pid == 0:
            while True:
                signal.pause()
        self.instance.pid, self.instance.pidfd = pid, os.pidfd_open(pid)
        return pid

    def wait(self) -> int:
        """Wait for its process, as the fork server does, and report how it ended."""
        assert self.instance.pid is not None
        status = os.waitstatus_to_exitcode(os.waitpid(self.instance.pid, 0)[1])
        self.instance.process_ended(status)
        return status


@asynccontextmanager
async def staged(disks: OpenDisks | None = None) -> AsyncIterator[Stage]:
    stage = Stage(disks)
    try:
        yield stage
    finally:
        await stage.instance.close()
        stage.port.close()
        stage.console.close()


@in_event_loop
async def test_a_guest_without_a_process_is_nothing_to_kill() -> None:
    async with staged() as stage:
        assert stage.instance.pids == ()
        stage.instance.kill()


@in_event_loop
async def test_it_is_killed_once_and_reports_how_it_ended() -> None:
    async with staged() as stage:
        pid = stage.fork()
        assert stage.instance.pids == (pid,)
        stage.instance.kill()
        assert stage.wait() == -signal.SIGKILL
        stage.instance.kill()  # its descriptor is closed
        assert stage.instance.pids == ()
        assert stage.instance.pidfd is None
        assert await stage.instance.ended() == End(-signal.SIGKILL)


@in_event_loop
async def test_it_is_served_from_the_start_to_its_end() -> None:
    async with staged() as stage:
        stage.fork()
        stage.instance.serve()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(stage.port, Request(0x64, 7, 0).pack())
        assert REPLY.unpack(await loop.sock_recv(stage.port, REPLY.size)) == (0, 7, 0)
        stage.console.send(VERDICT + READY.pack())
        assert await stage.instance.verdict() == READY
        stage.instance.kill()
        stage.wait()
        assert await loop.sock_recv(stage.port, 1) == b""


@in_event_loop
async def test_one_that_ended_before_it_was_served_is_not_served() -> None:
    async with staged() as stage:
        os.kill(stage.fork(), signal.SIGTERM)
        stage.wait()
        stage.instance.serve()
        assert await stage.instance.verdict() is None
        assert await stage.instance.ended() == End(-signal.SIGTERM)


@in_event_loop
async def test_a_guest_that_reads_no_replies_is_ended_for_that_reason() -> None:
    async with staged() as stage:
        stage.fork()
        stage.instance.serve()
        stage.port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for _ in range(2000):
            try:
                stage.port.send(Request(0x64, 7, 0).pack())
            except BlockingIOError:
                await asyncio.sleep(0)
            except ConnectionError:
                break
        stage.wait()
        end = await stage.instance.ended()
        assert end == End(-signal.SIGKILL, "it makes hypercalls and does not read CP's replies")


@in_event_loop
async def test_closing_one_without_a_process_ends_it() -> None:
    async with staged() as stage:
        await stage.instance.close()
        assert await stage.instance.ended() == End(-signal.SIGKILL)
        assert stage.instance.exit_status == -signal.SIGKILL


@in_event_loop
async def test_its_two_ranges_are_those_that_were_reserved() -> None:
    async with staged() as stage:
        assert stage.instance.window == 0x1000
        assert stage.instance.memory() == MemoryLayout(
            AddressRange(0x1000, 0x5000),
            AddressRange(0x10000, 0x12000),
            ((AddressRange(0x20000, 0x21000), "modules"),),
        )


@in_event_loop
async def test_a_guest_that_writes_to_files_is_shut_down_while_it_lives_and_is_ready() -> None:
    async with staged(OpenDisks(writable=True)) as stage:
        stage.fork()
        stage.instance.serve()
        assert not stage.instance.shut_down()  # in its `run:` list it does not listen
        stage.console.send(VERDICT + READY.pack())
        await stage.instance.verdict()
        assert stage.instance.shut_down()
        assert stage.console.recv(1) == b""
        stage.instance.kill()
        stage.wait()
        assert not stage.instance.shut_down()


@in_event_loop
async def test_a_guest_that_writes_to_no_file_is_not_asked_to_end() -> None:
    async with staged() as stage:
        stage.fork()
        stage.instance.serve()
        stage.console.send(VERDICT + READY.pack())
        await stage.instance.verdict()
        assert not stage.instance.shut_down()
        stage.instance.kill()
        stage.wait()


@in_event_loop
async def test_nothing_of_a_guest_that_ended_waits_for_the_collector() -> None:
    gc.disable()
    try:
        stage = Stage()
        stage.fork()
        stage.instance.serve()
        await asyncio.sleep(0)  # until its hypercalls are waited for
        stage.instance.kill()
        stage.wait()
        await stage.instance.close()
        instance = weakref.ref(stage.instance)
        stage.port.close()
        stage.console.close()
        del stage.instance
        await asyncio.sleep(0)
        assert instance() is None
    finally:
        gc.enable()
