"""The host's end of a guest's console: kinds of packets, commands, counters, and what no guest of ours sends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from loop_support import in_event_loop, settle

from dcss.abi.console import (
    ACCESS,
    CANCEL_REQUEST,
    COUNTERS,
    COUNTERS_REQUEST,
    EXIT_STATUS,
    PACKET_BYTES,
    STATUS,
    STDERR,
    STDOUT,
    TIMINGS,
    VERDICT,
    Counters,
    FileAccess,
    Verdict,
    pack_access,
    pack_exec,
    unpack_exec,
)
from dcss.abi.timings import Span, pack_spans
from dcss.engines.forked.console import GuestConsole
from dcss.errors import LaunchError

READY = VERDICT + Verdict(0, 0.5, 1, 2, 3).pack()


class Stage:
    """A console whose other end the test holds, and what commands wrote."""

    def __init__(self) -> None:
        self.host, self.guest = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest.setblocking(False)
        self.faults = 0
        self.console = GuestConsole("LINUX", self.host, self._fault)
        self.output: list[tuple[bool, bytes]] = []

    async def send(self, *packets: bytes) -> None:
        for packet in packets:
            await asyncio.get_running_loop().sock_sendall(self.guest, packet)
        await settle()

    async def receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.guest, PACKET_BYTES)

    async def begin(self, *words: str) -> "asyncio.Task[int]":
        """Begin a command."""
        command = asyncio.create_task(self.console.exec(words, self.take))
        await asyncio.sleep(0)
        return command

    async def take(self, is_error: bool, data: bytes) -> None:
        self.output.append((is_error, data))

    def _fault(self) -> None:
        self.faults += 1


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    stage = Stage()
    stage.console.start()
    try:
        yield stage
    finally:
        stage.console.end(0)
        stage.guest.close()


@in_event_loop
async def test_a_verdict_comes_once_and_counters_when_asked() -> None:
    async with staged() as stage:
        await stage.send(READY)
        verdict = await stage.console.verdict()
        assert verdict is not None
        assert verdict.counters == Counters(1, 2, 3)
        asked = [asyncio.create_task(stage.console.counters()) for _ in range(2)]
        assert await stage.receive() == COUNTERS_REQUEST
        await stage.send(COUNTERS + Counters(4096, 0, 8192).pack())
        assert [await each for each in asked] == [Counters(4096, 0, 8192)] * 2


@in_event_loop
async def test_a_commands_output_comes_from_its_first_byte_to_its_status() -> None:
    async with staged() as stage:
        command = await stage.begin("cat", "/a b", "\udcff")
        assert unpack_exec(await stage.receive()) == [b"cat", b"/a b", b"\xff"]
        for ask in (stage.console.exec(["ls"], stage.take), stage.console.counters()):
            with pytest.raises(LaunchError, match="LINUX: a command is under way"):
                await ask
        await stage.send(STDOUT + b"x" * (PACKET_BYTES - 1), STDERR + b"oops", STATUS + EXIT_STATUS.pack(-3))
        assert await command == -3
        assert stage.output == [(False, b"x" * (PACKET_BYTES - 1)), (True, b"oops")]
        await stage.begin("ls")  # the next one may come now
        assert unpack_exec(await stage.receive()) == [b"ls"]


@in_event_loop
async def test_only_a_command_that_runs_is_cancelled() -> None:
    async with staged() as stage:
        first = await stage.begin("first")
        first.cancel()
        await asyncio.wait([first])
        with pytest.raises(LaunchError, match="a command is under way"):  # until the guest has left it
            await stage.console.exec(["second"], stage.take)
        await stage.send(STDOUT + b"for nobody", STATUS + EXIT_STATUS.pack(130))
        await stage.begin("second")
        assert [await stage.receive() for _ in range(3)] == [b"exec\0first", CANCEL_REQUEST, b"exec\0second"]
        assert stage.output == []


def fill(stage: Stage) -> int:
    """Fill the buffer of a guest that reads nothing, and return the number of its packets."""
    number = 0
    for data in (b"x" * PACKET_BYTES, b"x"):
        with suppress(BlockingIOError):
            while True:
                stage.host.send(data)
                number += 1
    return number


@in_event_loop
async def test_a_cancel_waits_for_room() -> None:
    async with staged() as stage:
        command = await stage.begin("endless")
        unread = 1 + fill(stage)
        command.cancel()
        await asyncio.wait([command])
        for _ in range(unread):
            await stage.receive()
        assert await stage.receive() == CANCEL_REQUEST
        with pytest.raises(BlockingIOError):  # once is enough
            stage.guest.recv(1)


@in_event_loop
async def test_a_cancel_that_waits_is_not_for_the_next_command() -> None:
    async with staged() as stage:
        command = await stage.begin("first")
        unread = 1 + fill(stage)
        command.cancel()
        await asyncio.wait([command])
        await stage.send(STATUS + EXIT_STATUS.pack(0))
        for _ in range(unread):
            stage.guest.recv(PACKET_BYTES)
        await stage.begin("second")
        assert await stage.receive() == b"exec\0second"
        with pytest.raises(BlockingIOError):
            stage.guest.recv(1)


@in_event_loop
async def test_a_cancel_that_waits_ends_with_its_guest() -> None:
    async with staged() as stage:
        command = await stage.begin("endless")
        fill(stage)
        command.cancel()
        await asyncio.wait([command])
        stage.guest.close()
        await asyncio.sleep(0)
    assert stage.faults == 0


@in_event_loop
async def test_a_command_is_cancelled_when_nobody_takes_its_output() -> None:
    async def refuse(_: bool, __: bytes) -> None:
        raise ConnectionResetError("the client has gone")

    async with staged() as stage:
        command = asyncio.create_task(stage.console.exec(["cat"], refuse))
        await asyncio.sleep(0)
        await stage.send(STDOUT + b"piece")
        with pytest.raises(ConnectionResetError):
            await command
        assert [await stage.receive() for _ in range(2)] == [b"exec\0cat", CANCEL_REQUEST]


@in_event_loop
async def test_while_output_is_not_taken_no_more_is_read() -> None:
    taken, go_on = [], asyncio.Event()

    async def take(_: bool, data: bytes) -> None:
        await go_on.wait()
        taken.append(data)

    async with staged() as stage:
        command = asyncio.create_task(stage.console.exec(["cat"], take))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                for _ in range(1000):
                    await stage.send(STDOUT + bytes(60_000))
        go_on.set()
        await stage.send(STATUS + EXIT_STATUS.pack(0))
        assert await command == 0
        assert 3 < len(taken) < 20


@in_event_loop
async def test_one_command_may_follow_the_other() -> None:
    async with staged() as stage:
        first = await stage.begin("first")
        await stage.send(STATUS + EXIT_STATUS.pack(0))
        assert await first == 0
        await stage.begin("second")
        assert [unpack_exec(await stage.receive()) for _ in range(2)] == [[b"first"], [b"second"]]


@pytest.mark.parametrize(
    ("status", "words", "returned"), [(-9, "ended by signal 9", 137), (70, "ended with status 70", 70)]
)
@in_event_loop
async def test_a_guest_that_ends_first_ends_its_command(status: int, words: str, returned: int) -> None:
    async with staged() as stage:
        command = await stage.begin("cat")
        stage.guest.send(STDOUT + b"last words")
        stage.guest.close()
        stage.console.end(status)
        assert await command == returned
        assert stage.output[0] == (False, b"last words")
        ((is_error, line),) = stage.output[1:]
        assert is_error
        assert words in line.decode()


@in_event_loop
async def test_a_guest_that_ends_answers_nothing_more() -> None:
    async with staged() as stage:
        asked = asyncio.create_task(stage.console.counters())
        await asyncio.sleep(0)
        stage.console.end(-9)
        assert await asked is None
        assert await stage.console.verdict() is None


@pytest.mark.parametrize("words", [[], ["a\0b"], ["x" * PACKET_BYTES]])
@in_event_loop
async def test_a_command_that_no_packet_holds_is_refused(words: list[str]) -> None:
    async with staged() as stage:
        with pytest.raises(LaunchError, match="wanted at"):
            await stage.console.exec(words, stage.take)
        await stage.begin("ls")
        assert unpack_exec(await stage.receive()) == [b"ls"]


@in_event_loop
async def test_a_guest_that_does_not_listen_is_an_error_and_not_a_wait() -> None:
    async with staged() as stage:
        with pytest.raises(LaunchError, match="its console takes nothing"):
            for _ in range(10_000):
                command = await stage.begin("x" * 10_000)
                await stage.send(STATUS + EXIT_STATUS.pack(0))
                await command


@pytest.mark.parametrize(
    "packet",
    [b"?", b"Vshort", b"Bshort", b"B" + bytes(25), b"Oasked for nothing", b"X\0\0\0\0", READY],
)
@in_event_loop
async def test_a_wrong_packet_ends_the_guest(packet: bytes) -> None:
    async with staged() as stage:
        await stage.send(READY)
        assert stage.faults == 0
        await stage.send(packet)
        assert stage.faults == 1


@pytest.mark.parametrize("packet", [b"X\0", b"X" + bytes(5), b"Z"])
@in_event_loop
async def test_a_wrong_packet_during_a_command_ends_the_guest(packet: bytes) -> None:
    async with staged() as stage:
        await stage.begin("ls")
        await stage.send(packet)
        assert (stage.faults, stage.output) == (1, [])


def test_packets_are_what_they_were() -> None:
    verdict = Verdict(1, 2.5, 3, 4, 5, 6, 7, 8, "guest: a name \udcff")
    assert Verdict.unpack(verdict.pack())[:5] == verdict[:5]
    assert len(Verdict(1, 0.0, 0, 0, 0, message="x" * 100_000).pack()) < PACKET_BYTES
    for in_place_bytes in (5, None):  # None: the guest cannot see them
        counters = Counters(1, 2, 3, 4, in_place_bytes, 6)
        assert Counters.unpack(counters.pack()) == counters
        assert Verdict.unpack(Verdict(1, 2.5, *counters).pack()).counters == counters
    assert unpack_exec(pack_exec([b"echo", b"", b"b"])) == [b"echo", b"", b"b"]


@in_event_loop
async def test_only_a_guest_that_waits_for_a_request_is_shut_down() -> None:
    async with staged() as stage:
        assert not stage.console.hang_up()  # it is in its run: list
        await stage.send(READY)
        await stage.console.verdict()
        command = await stage.begin("ls")
        assert not stage.console.hang_up()
        await stage.receive()
        await stage.send(STATUS + EXIT_STATUS.pack(0))
        assert await command == 0
        assert stage.console.hang_up()
        assert await stage.receive() == b""
        await stage.send(ACCESS + pack_access(()))  # too late: it says so before its verdict
        assert stage.faults == 1


@in_event_loop
async def test_how_files_are_reached_is_said_before_the_verdict() -> None:
    async with staged() as stage:
        assert stage.console.access == ()
        mounts = (FileAccess("vdb", "/", "xip", "page-cache"),)
        await stage.send(ACCESS + pack_access(mounts), READY)
        assert await stage.console.verdict() is not None
        assert stage.console.access == mounts


@in_event_loop
async def test_spans_come_before_the_verdict_in_as_many_packets_as_they_need() -> None:
    spans = [Span("kernel", 1, 2), Span("map", 3, 4)]
    async with staged() as stage:
        await stage.send(*(TIMINGS + pack_spans([span]) for span in spans), READY)
        assert await stage.console.verdict() is not None
        assert stage.console.spans == spans
        assert stage.faults == 0
        await stage.send(TIMINGS + pack_spans(spans))
        assert (stage.console.spans, stage.faults) == (spans, 1)


@in_event_loop
async def test_spans_that_no_guest_sends_end_it() -> None:
    async with staged() as stage:
        await stage.send(TIMINGS + b"x")
        assert (stage.console.spans, stage.faults) == ([], 1)
