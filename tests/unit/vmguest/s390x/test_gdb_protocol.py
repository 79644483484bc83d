"""gdb's remote serial protocol, against a program that is a table of bytes."""

import struct
from collections.abc import Mapping, Sequence
from errno import EFAULT, ESRCH

import pytest

from dcss.errors import KernelError
from vmguest.s390x.gdb_protocol import GdbServer, Resumption

START = 0x1000


class Program:
    """What is debugged."""

    stop_signal = 5

    def __init__(self) -> None:
        self.memory = bytearray(range(64))
        self.state = bytes(range(16))
        self.events: list[str] = []

    @property
    def thread_ids(self) -> Sequence[int]:
        return [100, 101]

    def select(self, tid: int) -> None:
        if tid > 0 and tid not in self.thread_ids:
            raise KernelError(ESRCH, "no such thread")
        self.events.append(f"select {tid}")

    def description(self) -> bytes:
        return b"<target>" + b"#$}*" + b"x" * 100

    def registers(self) -> bytes:
        return self.state

    def set_registers(self, packed: bytes) -> None:
        self.state = struct.pack("16s", *struct.unpack("16s", packed))

    def auxiliary_vector(self) -> bytes:
        return b"vector"

    def read_memory(self, address: int, size_bytes: int) -> bytes:
        if not START <= address <= START + len(self.memory) - size_bytes:
            raise KernelError(EFAULT, "nothing is there")
        return bytes(self.memory[address - START : address - START + size_bytes])

    def write_memory(self, address: int, data: bytes) -> None:
        self.memory[address - START : address - START + len(data)] = data

    def insert_breakpoint(self, address: int) -> None:
        self.events.append(f"insert {address:#x}")

    def remove_breakpoint(self, address: int) -> None:
        self.events.append(f"remove {address:#x}")

    def resume(self, actions: Mapping[int, Resumption]) -> None:
        for tid, (step, signal) in actions.items():
            self.events.append(f"{'step' if step else 'continue'} {tid} {signal}")

    def interrupt(self) -> None:
        self.events.append("interrupt")

    def kill(self) -> None:
        self.events.append("kill")

    def detach(self) -> None:
        self.events.append("detach")


class Gdb:
    """gdb's side: sends packets, and returns replies whose checksums are right."""

    def __init__(self, program: Program) -> None:
        self.sent = b""
        self.server = GdbServer(program, self._take)

    def _take(self, data: bytes) -> None:
        self.sent += data

    def ask(self, packet: bytes) -> bytes | None:
        self.sent = b""
        self.server.feed(b"$%s#%02x" % (packet, sum(packet) & 0xFF))
        return self.reply()

    def reply(self) -> bytes | None:
        sent = self.sent.removeprefix(b"+")
        if not sent:
            return None
        assert sent.startswith(b"$")
        body, _, checksum = sent[1:].rpartition(b"#")
        assert int(checksum, 16) == sum(body) & 0xFF
        return body


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def gdb(program: Program) -> Gdb:
    return Gdb(program)


def test_packets_are_acknowledged_until_gdb_wants_none(gdb: Gdb) -> None:
    gdb.ask(b"?")
    assert gdb.sent.startswith(b"+$T05thread:64;#")
    assert gdb.ask(b"QStartNoAckMode") == b"OK"
    gdb.ask(b"?")
    assert gdb.sent.startswith(b"$T05")


def test_a_packet_may_come_in_pieces_and_several_at_once(gdb: Gdb, program: Program) -> None:
    for byte in b"+$Z0,1000,2#d5":
        gdb.server.feed(bytes((byte,)))
    gdb.server.feed(b"$z0,1000,2#f5$c#63")
    assert program.events == ["insert 0x1000", "remove 0x1000", "continue 100 0", "continue 101 0"]


def test_registers_and_memory(gdb: Gdb, program: Program) -> None:
    assert gdb.ask(b"g") == bytes(range(16)).hex().encode()
    assert gdb.ask(b"G" + b"ff" * 16) == b"OK"
    assert program.state == b"\xff" * 16
    assert gdb.ask(b"m1004,4") == b"04050607"
    assert gdb.ask(b"M1004,2:abcd") == b"OK"
    assert gdb.ask(b"m1004,4") == b"abcd0607"
    assert gdb.ask(b"Gff") == b"E01"
    assert gdb.ask(b"m5000,4") == b"E01"
    assert gdb.ask(b"mxyz") == b"E01"


def test_going_on_is_answered_by_the_stop(gdb: Gdb, program: Program) -> None:
    assert gdb.ask(b"vCont?") == b"vCont;c;C;s;S"
    assert gdb.ask(b"vCont;c") is None
    program.stop_signal = 11
    gdb.server.stopped()
    assert gdb.reply() == b"T0bthread:64;"


@pytest.mark.parametrize(
    ("packet", "events"),
    [
        (b"vCont;s:64;c", ["step 100 0", "continue 101 0"]),
        (b"vCont;s:65", ["step 101 0"]),  # the other one stands still
        (b"vCont;C0b:65;c:-1", ["continue 101 11", "continue 100 0"]),
        (b"vCont;C1e", ["continue 100 10", "continue 101 10"]),  # gdb's number of SIGUSR1
        (b"s", ["step 100 0", "step 101 0"]),
        (b"C0b", ["continue 100 11", "continue 101 11"]),
    ],
)
def test_each_thread_goes_on_as_gdb_says(gdb: Gdb, program: Program, packet: bytes, events: list[str]) -> None:
    assert gdb.ask(packet) is None
    assert program.events == events


def test_registers_are_those_of_the_thread_that_gdb_chooses(gdb: Gdb, program: Program) -> None:
    assert [gdb.ask(packet) for packet in (b"Hg65", b"Hg0", b"Hc-1")] == [b"OK"] * 3
    assert program.events == ["select 101", "select 0"]
    assert gdb.ask(b"Hg7") == b"E01"
    assert [gdb.ask(packet) for packet in (b"T65", b"T66")] == [b"OK", b"E01"]


def test_an_interrupt_is_no_packet(gdb: Gdb, program: Program) -> None:
    gdb.server.feed(b"\x03$g#67")
    assert program.events == ["interrupt"]
    assert gdb.reply() == bytes(range(16)).hex().encode()


@pytest.mark.parametrize(("code", "signal", "reply"), [(3, 0, b"W03"), (0, 11, b"X0b"), (0, 10, b"X1e")])
def test_the_end_is_told_and_nothing_can_be_asked_after_it(gdb: Gdb, code: int, signal: int, reply: bytes) -> None:
    gdb.server.ended(code, signal)
    assert gdb.reply() == reply
    assert gdb.ask(b"?") == reply
    assert gdb.ask(b"g") == b"E01"


def test_objects_come_in_parts_with_special_bytes_escaped(gdb: Gdb, program: Program) -> None:
    first = gdb.ask(b"qXfer:features:read:target.xml:0,c")
    assert first == b"m<target>}\x03}\x04}\x5d}\x0a"
    last = gdb.ask(b"qXfer:features:read:target.xml:c,100")
    assert last == b"l" + b"x" * 100
    assert gdb.ask(b"qXfer:auxv:read::0,10") == b"lvector"


def test_what_is_not_known_is_answered_by_nothing(gdb: Gdb) -> None:
    assert gdb.ask(b"Z1,1000,4") == b""  # hardware breakpoints
    assert gdb.ask(b"qTStatus") == b""
    assert gdb.ask(b"vMustReplyEmpty") == b""
    assert gdb.ask(b"qfThreadInfo") == b"m64,65"
    assert gdb.ask(b"qsThreadInfo") == b"l"


def test_gdb_kills_or_leaves(gdb: Gdb, program: Program) -> None:
    assert gdb.ask(b"D") == b"OK"
    gdb.ask(b"k")
    assert gdb.ask(b"vKill;64") == b"OK"
    assert program.events == ["detach", "kill", "kill"]
