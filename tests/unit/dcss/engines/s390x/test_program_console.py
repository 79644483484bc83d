"""The host's end of a console of programs: several at once, windows, input, and what no guest of ours sends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from loop_support import in_event_loop

from dcss.abi import programs
from dcss.abi.console import COUNTERS, COUNTERS_REQUEST, OUTPUT_BYTES, PACKET_BYTES, Counters
from dcss.abi.programs import ProgramEvent, ProgramPacket, ProgramRequest, TerminalSize, head_of
from dcss.engines.base import ExecOptions
from dcss.engines.forked.program_console import ProgramConsole
from dcss.errors import LaunchError


class Stage:
    """A console whose other end the test holds, and what programs wrote, by the word they were started by."""

    def __init__(self) -> None:
        self.host, self.guest = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest.setblocking(False)
        self.faulty = asyncio.Event()
        self.console = ProgramConsole("LINUX", self.host, self.faulty.set)
        self.output: dict[str, list[tuple[bool, bytes]]] = {}
        self.events: asyncio.Queue[ProgramEvent] = asyncio.Queue()
        self.read_bytes: asyncio.Queue[int] = asyncio.Queue()

    async def send(self, *packets: bytes) -> None:
        for packet in packets:
            await asyncio.get_running_loop().sock_sendall(self.guest, packet)

    async def receive(self) -> ProgramPacket:
        return ProgramPacket.unpack(await asyncio.get_running_loop().sock_recv(self.guest, PACKET_BYTES))

    async def begin(self, word: str, options: ExecOptions | None = None) -> tuple["asyncio.Task[int]", int]:
        """Begin a program; return its task, and the number that the guest got."""

        async def take(is_error: bool, data: bytes) -> None:
            self.output.setdefault(word, []).append((is_error, data))

        task = asyncio.create_task(self.console.exec([word], take, options))
        packet = await self.receive()
        assert packet.kind == programs.RUN
        assert ProgramRequest.unpack(packet.data).words == (word.encode(),)
        return task, packet.number

    async def next_event(self) -> ProgramEvent:
        return await self.events.get()


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    stage = Stage()
    stage.console.start()
    try:
        yield stage
    finally:
        stage.console.end(0)
        stage.guest.close()


def exited(number: int, status: int = 0) -> bytes:
    return head_of(programs.EXIT, number) + programs.STATUS.pack(status)


@in_event_loop
async def test_programs_run_at_once_and_each_gets_its_own_output_and_status() -> None:
    async with staged() as stage:
        (first, one), (second, two) = await stage.begin("first"), await stage.begin("second")
        await stage.send(
            head_of(programs.OUTPUT, two) + b"of second",
            head_of(programs.ERRORS, one) + b"of first",
            exited(two, 137),
        )
        assert await second == 137
        assert not first.done()
        await stage.send(exited(one, 3))
        assert await first == 3
        assert stage.output == {"first": [(True, b"of first")], "second": [(False, b"of second")]}


@in_event_loop
async def test_counters_are_answered_while_a_program_runs() -> None:
    async with staged() as stage:
        await stage.begin("sleep")
        asked = asyncio.create_task(stage.console.counters())
        assert await asyncio.get_running_loop().sock_recv(stage.guest, PACKET_BYTES) == COUNTERS_REQUEST
        await stage.send(COUNTERS + Counters(1, 2, 3).pack())
        assert await asked == Counters(1, 2, 3)


@in_event_loop
async def test_everything_that_was_asked_for_reaches_the_guest() -> None:
    async with staged() as stage:
        options = ExecOptions(
            ("A=\udcff",),
            "/tmp",
            TerminalSize(24, 80),
            strace=True,
            has_input=True,
            events=stage.next_event,
            debugger=_ignore,
        )
        task = asyncio.create_task(stage.console.exec(["bash", "-l"], _discard, options))
        packet = await stage.receive()
        wanted = ProgramRequest(
            (b"bash", b"-l"), (b"A=\xff",), b"/tmp", True, TerminalSize(24, 80), strace=True, gdb=True
        )
        assert ProgramRequest.unpack(packet.data) == wanted
        await stage.send(exited(packet.number))
        await task


@in_event_loop
async def test_input_windows_and_signals_come_in_the_order_in_which_the_client_says_them() -> None:
    async with staged() as stage:

        async def read(size_bytes: int) -> None:
            stage.read_bytes.put_nowait(size_bytes)

        task, number = await stage.begin("cat", ExecOptions(events=stage.next_event, input_taken=read))
        long = b"x" * (programs.WINDOW_BYTES // 2)
        said = [
            ProgramEvent(programs.INPUT, long),
            ProgramEvent(programs.RESIZE, programs.SIZE.pack(50, 132)),
            ProgramEvent(programs.SIGNAL, programs.STATUS.pack(2)),
            ProgramEvent(programs.INPUT_END),
        ]
        for event in said:
            stage.events.put_nowait(event)
        pieces = len(programs.pieces(long))
        heard = [await stage.receive() for _ in range(pieces + 3)]
        assert {packet.number for packet in heard} == {number}
        assert b"".join(packet.data for packet in heard[:pieces]) == long
        assert [(packet.kind, packet.data) for packet in heard[pieces:]] == [tuple(event) for event in said[1:]]
        await stage.send(head_of(programs.INPUT_TAKEN, number) + programs.COUNT.pack(1234), exited(number))
        assert await task == 0
        assert stage.read_bytes.get_nowait() == 1234


@in_event_loop
async def test_output_that_was_taken_is_acknowledged_and_what_waits_is_bounded() -> None:
    async with staged() as stage:
        _, number = await stage.begin("yes")
        piece = b"y" * OUTPUT_BYTES
        await stage.send(head_of(programs.OUTPUT, number) + piece)
        packet = await stage.receive()
        assert packet.kind == programs.OUTPUT_TAKEN
        assert programs.COUNT.unpack(packet.data) == (len(piece),)


@in_event_loop
async def test_a_guest_that_sends_more_than_its_window_is_ended() -> None:
    async with staged() as stage:

        async def stuck(_is_error: bool, _data: bytes) -> None:
            await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(stage.console.exec(["yes"], stuck))
        number = (await stage.receive()).number
        for _ in range(programs.WINDOW_BYTES // OUTPUT_BYTES + 1):
            await stage.send(head_of(programs.OUTPUT, number) + b"y" * OUTPUT_BYTES)
        await stage.faulty.wait()
        task.cancel()


@in_event_loop
async def test_a_program_whose_client_goes_is_cancelled_and_others_go_on() -> None:
    async with staged() as stage:
        (first, one), (second, two) = await stage.begin("first"), await stage.begin("second")
        first.cancel()
        assert await stage.receive() == ProgramPacket(programs.CANCEL, one, b"")
        await stage.send(head_of(programs.OUTPUT, one) + b"for nobody", exited(one, 137), exited(two))
        assert await second == 0
        assert stage.output == {}
        assert not stage.faulty.is_set()


@in_event_loop
async def test_a_guest_that_does_not_read_holds_up_nobody_in_cp() -> None:
    async with staged() as stage:
        task, number = await stage.begin("cat", ExecOptions(events=stage.next_event))
        sent = [bytes([index]) * OUTPUT_BYTES for index in range(100)]
        for data in sent:
            stage.events.put_nowait(ProgramEvent(programs.INPUT, data))
        asked = asyncio.create_task(stage.console.counters())  # which the loop takes meanwhile
        await asyncio.sleep(0)
        asked.cancel()
        for data in sent:
            assert (await stage.receive()).data == data
        await stage.send(exited(number))
        assert await task == 0


@pytest.mark.parametrize(("status", "code"), [(-9, 137), (70, 70)])
@in_event_loop
async def test_a_guest_that_ends_first_ends_its_programs(status: int, code: int) -> None:
    async with staged() as stage:
        task, number = await stage.begin("cat")
        await stage.send(head_of(programs.OUTPUT, number) + b"the last")
        stage.console.end(status)
        assert await task == code
        output = stage.output["cat"]
        assert output[0] == (False, b"the last")
        assert output[1][0]
        assert b"before its program did" in output[1][1]
        late = asyncio.create_task(stage.console.exec(["late"], _discard))
        with pytest.raises(LaunchError, match="has ended"):
            await late


@pytest.mark.parametrize(
    "packet",
    [
        head_of(programs.OUTPUT, 99) + b"x",
        exited(99),
        head_of(programs.EXIT, 1) + b"?",
        head_of(programs.INPUT_TAKEN, 1) + b"?",
        b"o",
        b"?",
    ],
)
@in_event_loop
async def test_a_wrong_packet_ends_the_guest(packet: bytes) -> None:
    async with staged() as stage:
        task, number = await stage.begin("cat")
        assert number == 1
        await stage.send(packet)
        await stage.faulty.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _discard(_is_error: bool, _data: bytes) -> None:
    pass


@in_event_loop
async def test_what_gdb_says_and_is_told_passes_beside_the_programs_streams() -> None:
    told: list[bytes] = []

    async def to_gdb(data: bytes) -> None:
        told.append(data)

    async with staged() as stage:
        options = ExecOptions(events=stage.next_event, debugger=to_gdb)
        task, number = await stage.begin("cat", options)
        stage.events.put_nowait(ProgramEvent(programs.DEBUG, b"$g#67"))
        packet = await stage.receive()
        assert (packet.kind, packet.data) == (programs.DEBUG, b"$g#67")
        await stage.send(head_of(programs.DEBUGGER, number) + b"$00#60", exited(number))
        assert await task == 0
        assert told == [b"$00#60"]


async def _ignore(_: bytes) -> None:
    pass
