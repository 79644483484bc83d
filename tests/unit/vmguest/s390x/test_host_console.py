"""A guest's console of programs: what the host asks for, streams with windows, terminals, and how programs end."""

import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from cp_support import BlockingCp
from guest_support import guest_kernel
from programs_support import FakeProcess, FakePrograms

from dcss.abi import programs as abi
from dcss.abi.console import COUNTERS, COUNTERS_REQUEST, OUTPUT_BYTES, PACKET_BYTES
from dcss.abi.programs import ProgramPacket, ProgramRequest, TerminalSize, head_of
from vmguest.s390x.host_console import HostConsole
from vmguest.s390x.programs import Programs

LONG = bytes(range(256)) * (3 * abi.WINDOW_BYTES // 256)


def cat(process: FakeProcess) -> Iterator[None]:
    while (data := process.read()) != b"":
        if data is None:
            yield
        else:
            yield from process.write(data)


def print_long(process: FakeProcess) -> Iterator[None]:
    yield from process.write(LONG)


def fail(process: FakeProcess) -> Iterator[None]:
    yield from process.write(b"to stderr", 2)
    return 3  # type: ignore[return-value] # what the fake ends with


def sleep(process: FakeProcess) -> Iterator[None]:
    while not process.heard:
        yield
    return 128 + process.heard[0]  # type: ignore[return-value] # what the fake ends with


def show_command(process: FakeProcess) -> Iterator[None]:
    yield from process.write(repr(process.command).encode())
    if process.trace is not None:
        process.trace(b"write(1) = 5\n")
        process.end(0)
        process.trace(b"exit_group(0) = ?\n")


BODIES = {
    b"cat": cat,
    b"long": print_long,
    b"fail": fail,
    b"sleep": sleep,
    b"show": show_command,
}


class Host:
    """The host's end of a guest's console, and the guest in a thread of its own."""

    def __init__(self, cp: BlockingCp) -> None:
        self.programs = FakePrograms(BODIES)
        self._console, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._console.settimeout(60)
        self._failures: list[BaseException] = []
        self.pauses = 0
        self._thread = threading.Thread(target=self._run, args=[cp])
        self._thread.start()
        self._last = 0
        self._kept: list[ProgramPacket] = []

    def _run(self, cp: BlockingCp) -> None:
        try:
            with guest_kernel(cp) as kernel:
                HostConsole(kernel, cast(Programs, self.programs), self._theirs, self._pause).serve()
        except BaseException as failure:
            self._failures.append(failure)
        finally:
            self._theirs.close()

    def _pause(self) -> None:
        self.pauses += 1

    def close(self) -> None:
        self._console.close()
        self._thread.join()
        assert self._failures == []

    def send(self, kind: bytes, number: int, data: bytes = b"") -> None:
        self._console.send(head_of(kind, number) + data)

    def run(self, word: bytes, **options: Any) -> int:
        self._last += 1
        self.send(abi.RUN, self._last, ProgramRequest((word,), **options).pack())
        return self._last

    def raw(self, packet: bytes) -> bytes:
        self._console.send(packet)
        return self._console.recv(PACKET_BYTES)

    def next_of(self, number: int) -> ProgramPacket:
        """Return the next packet about a program; those about others stay for later."""
        for packet in self._kept:
            if packet.number == number:
                self._kept.remove(packet)
                return packet
        while True:
            packet = ProgramPacket.unpack(self._console.recv(PACKET_BYTES))
            if packet.number == number:
                return packet
            self._kept.append(packet)

    def finish(self, number: int, *, take: bool = True) -> tuple[int, bytes, bytes]:
        """Take what a program writes until it ends; return its status and that."""
        written = {abi.OUTPUT: bytearray(), abi.ERRORS: bytearray()}
        while (packet := self.next_of(number)).kind != abi.EXIT:
            if packet.kind in written:
                written[packet.kind] += packet.data
                if take:
                    self.send(abi.OUTPUT_TAKEN, number, abi.COUNT.pack(len(packet.data)))
        return abi.STATUS.unpack(packet.data)[0], bytes(written[abi.OUTPUT]), bytes(written[abi.ERRORS])


@pytest.fixture
def host(control_program: BlockingCp) -> Iterator[Host]:
    host = Host(control_program)
    yield host
    host.close()


def test_input_comes_out_and_its_end_ends_the_program(host: Host) -> None:
    number = host.run(b"cat", has_input=True)
    host.send(abi.INPUT, number, b"one ")
    host.send(abi.INPUT, number, b"two")
    host.send(abi.INPUT_END, number)
    assert host.finish(number) == (0, b"one two", b"")
    assert host.pauses > 0


def test_without_input_a_program_reads_an_empty_file(host: Host) -> None:
    assert host.finish(host.run(b"cat")) == (0, b"", b"")


def test_the_host_hears_of_all_input_that_was_read(host: Host) -> None:
    number = host.run(b"cat", has_input=True)
    for start in range(0, abi.WINDOW_BYTES, OUTPUT_BYTES):
        host.send(abi.INPUT, number, LONG[start : start + OUTPUT_BYTES])
    read_bytes = written_bytes = 0
    while read_bytes < abi.WINDOW_BYTES or written_bytes < abi.WINDOW_BYTES:
        packet = host.next_of(number)
        if packet.kind == abi.INPUT_TAKEN:
            read_bytes += abi.COUNT.unpack(packet.data)[0]
        else:
            written_bytes += len(packet.data)
            host.send(abi.OUTPUT_TAKEN, number, abi.COUNT.pack(len(packet.data)))
    assert read_bytes == written_bytes == abi.WINDOW_BYTES
    host.send(abi.INPUT_END, number)
    assert host.finish(number) == (0, b"", b"")


def test_what_the_host_does_not_take_waits_and_other_programs_go_on(host: Host) -> None:
    long = host.run(b"long")
    assert host.finish(host.run(b"fail")) == (3, b"", b"to stderr")
    number = host.run(b"cat", has_input=True)
    host.send(abi.INPUT, number, b"still here")
    host.send(abi.INPUT_END, number)
    assert host.finish(number) == (0, b"still here", b"")
    waiting_bytes = sum(len(packet.data) for packet in host._kept if packet.number == long)
    assert waiting_bytes <= abi.WINDOW_BYTES
    for _ in range(len(host._kept)):
        host.send(abi.OUTPUT_TAKEN, long, abi.COUNT.pack(0))  # a turn for the program, and no room
    assert host.raw(COUNTERS_REQUEST)[:1] == COUNTERS
    assert host.finish(long) == (0, LONG, b"")


def test_counters_are_answered_while_programs_run(host: Host) -> None:
    number = host.run(b"sleep")
    assert host.raw(COUNTERS_REQUEST)[:1] == COUNTERS
    host.send(abi.SIGNAL, number, abi.STATUS.pack(15))
    assert host.finish(number) == (143, b"", b"")


@pytest.mark.parametrize(
    ("word", "status", "text"),
    [
        (b"nosuch", 127, b"nosuch: No such file or directory\n"),
        (b"unreadable", 126, b"unreadable: Permission denied\n"),
    ],
)
def test_what_cannot_be_started_has_a_shells_status(host: Host, word: bytes, status: int, text: bytes) -> None:
    assert host.finish(host.run(word)) == (status, b"", text)


def test_everything_that_was_asked_for_reaches_the_program(host: Host) -> None:
    number = host.run(b"show", environment=(b"A=b",), directory=b"/tmp", strace=True)
    status, output, errors = host.finish(number)
    assert (status, errors) == (0, b"write(1) = 5\nexit_group(0) = ?\n")
    command = host.programs.started[0].command
    assert output == repr(command).encode()
    assert (command.words, command.directory) == ((b"show",), b"/tmp")
    assert b"A=b" in command.environment


def test_a_program_whose_client_goes_ends_and_writes_to_nobody(host: Host) -> None:
    number = host.run(b"long")
    host.send(abi.CANCEL, number)
    status, output, _ = host.finish(number, take=False)
    assert status == 137
    assert len(output) <= abi.WINDOW_BYTES
    for kind in (abi.CANCEL, abi.INPUT_END, abi.INPUT, abi.SIGNAL, abi.RESIZE, abi.OUTPUT_TAKEN):
        host.send(kind, number, abi.COUNT.pack(0))  # on their way when it ended
    assert host.finish(host.run(b"fail"))[0] == 3


def test_a_terminal_echoes_edits_and_ends_a_line(host: Host) -> None:
    number = host.run(b"cat", has_input=True, terminal=TerminalSize(24, 80))
    host.send(abi.INPUT, number, b"helo\x7flo\r")
    host.send(abi.INPUT, number, b"\x04")
    status, output, errors = host.finish(number)
    assert (status, errors) == (0, b"")
    assert output == b"helo\b \blo\r\nhello\r\n"
    assert len(host.programs.removed) == 1, "the guest is to know the terminal no more"


def test_the_end_of_a_terminals_input_leaves_the_program_running(host: Host) -> None:
    number = host.run(b"cat", has_input=True, terminal=TerminalSize(24, 80))
    host.send(abi.INPUT_END, number)
    host.send(abi.RESIZE, number, abi.SIZE.pack(50, 132))
    host.send(abi.INPUT, number, b"x\r\x04")
    assert host.finish(number)[:2] == (0, b"x\r\nx\r\n")
