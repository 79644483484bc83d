"""The line discipline against a pseudoterminal of this machine's kernel: reads, echoes and output are the same."""

import termios
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pty_support import KernelTerminal, kernel_terminal

from vmguest.tty import termios as ours
from vmguest.tty.line_discipline import LineDiscipline
from vmguest.tty.output import OutputProcessor
from vmguest.tty.termios import ECHO, ECHOCTL, ECHOE, ICANON, ICRNL, IEXTEN, ISIG, IUTF8, IXON, ONLCR, OPOST, Termios

pytestmark = pytest.mark.skipif(
    (termios.ICANON, termios.IEXTEN) != (ICANON, IEXTEN),
    reason="this machine's settings have other numbers than s390's",
)

INPUT_FLAGS = [ICRNL, ours.INLCR, ours.IGNCR, ours.ISTRIP, ours.IUCLC, IXON, ours.IXANY, IUTF8, ours.PARMRK]
OUTPUT_FLAGS = [OPOST, ONLCR, ours.OCRNL, ours.ONOCR, ours.ONLRET, ours.OLCUC, ours.XTABS]
LOCAL_FLAGS = [
    ISIG,
    ICANON,
    ECHO,
    ECHOE,
    ours.ECHOK,
    ours.ECHONL,
    ours.NOFLSH,
    ECHOCTL,
    ours.ECHOPRT,
    ours.ECHOKE,
    IEXTEN,
]
STANDARD = Termios()
SIGNAL_KEYS = {0x03: 2, 0x1C: 3, 0x1A: 20}
PLAIN = [
    b"a", b"Z", b"word ", b"two words", b"x_1", b".", b"\t", b"ab\tc", b"\x01", b"\x1b[A", b"\0", b"\xff",
    "é€".encode(), b"\xa9", b"\xc3", b"\xd7",
]  # fmt: skip
KEYS = [bytes((key,)) for key in b"\n\n\r\x7f\x7f\x15\x17\x16\x12\x04\x11|"]


class Type(NamedTuple):
    data: bytes


class Write(NamedTuple):
    data: bytes


class Set(NamedTuple):
    settings: Termios


Step = Type | Write | Set


def flags(of: list[int], usual: int) -> st.SearchStrategy[int]:
    return st.one_of(st.just(usual), st.sets(st.sampled_from(of)).map(sum))


characters = st.sampled_from(
    [STANDARD.characters, STANDARD.characters[:11] + b"|" + STANDARD.characters[12:16] + b"\xff\0\0"]
)
all_settings = st.builds(
    Termios,
    flags(INPUT_FLAGS, ICRNL | IXON | IUTF8),
    flags(OUTPUT_FLAGS, OPOST | ONLCR),
    st.just(STANDARD.cflag),
    flags(LOCAL_FLAGS, STANDARD.lflag),
    characters=characters,
)
steps = st.lists(
    st.one_of(
        st.lists(st.sampled_from(PLAIN + KEYS), min_size=1, max_size=12).map(lambda parts: Type(b"".join(parts))),
        st.sampled_from([Type(bytes((key,))) for key in (*SIGNAL_KEYS, 0x13)]),  # these overtake what came with them
        st.lists(st.sampled_from([*PLAIN, b"\n", b"\r", b"\b", b"\t"]), max_size=6).map(lambda p: Write(b"".join(p))),
        all_settings.map(Set),
    ),
    max_size=12,
)


class OurTerminal:
    def __init__(self) -> None:
        self.screen = bytearray()
        self.signals: list[int] = []
        self.output = OutputProcessor(self.screen.extend)
        self.discipline = LineDiscipline(self.output, self.signals.append)

    def shown(self) -> bytes:
        shown = bytes(self.screen)
        self.screen.clear()
        return shown

    def reads(self, size_bytes: int) -> list[bytes]:
        found = []
        while self.discipline.available_bytes():
            found.append(self.discipline.read(size_bytes))
        return found

    def write(self, data: bytes) -> None:
        if not self.discipline.stopped:
            self.output.write(data)


def do(step: Step, own: OurTerminal, kernels: KernelTerminal) -> None:
    match step:
        case Type(data):
            own.discipline.receive(data)
            kernels.type(data)
        case Write(data):
            own.write(data)
            kernels.write(data)
        case Set(wanted):
            kernels.set(wanted)
            own.discipline.change_settings(kernels.settings())


def compare(steps: list[Step], read_bytes: int, start: Termios = STANDARD) -> None:
    own = OurTerminal()
    with kernel_terminal() as kernels:
        for step in [Set(start), *steps]:
            do(step, own, kernels)
            found, wanted = own.reads(read_bytes), kernels.reads(read_bytes)
            if not own.discipline.settings.lflag & ICANON:  # how much a read gets depends on when it comes
                found, wanted = [b"".join(found)], [b"".join(wanted)]
            assert found == wanted, step
            assert own.shown() == kernels.shown(), step


@settings(max_examples=300)
@given(start=all_settings, steps=steps, read_bytes=st.sampled_from([1, 3, 64, 4096]))
@example(start=STANDARD, steps=[Type(b"a\tb\x7f\x7f\x7f\n")], read_bytes=64)
@example(start=STANDARD, steps=[Type(b"abc\x04")], read_bytes=3)
@example(start=STANDARD, steps=[Type(b"abc\n")], read_bytes=3)
@example(start=STANDARD, steps=[Type(b"\x13"), Type(b"held\n"), Write(b"lost"), Type(b"\x11")], read_bytes=64)
def test_reads_echoes_and_output_are_the_kernels(start: Termios, steps: list[Step], read_bytes: int) -> None:
    compare(steps, read_bytes, start)


def test_a_line_that_is_too_long_loses_its_end_and_not_its_newline() -> None:
    compare([Type(b"x" * 5000), Type(b"\n"), Type(b"short\n")], 10_000)


def test_what_has_no_room_waits_until_something_was_read() -> None:
    own = OurTerminal()
    own.discipline.change_settings(Termios(iflag=0, lflag=0))
    own.discipline.receive(b"0123456789" * 1000)
    assert own.discipline.available_bytes() == 4095
    assert b"".join(own.reads(100)) == b"0123456789" * 1000
    own.discipline.change_settings(STANDARD)
    own.discipline.receive(b"line\n" * 2000)
    assert own.reads(100) == [b"line\n"] * 2000


def test_keys_send_signals_and_have_what_was_typed_forgotten() -> None:
    own = OurTerminal()
    for key, number in SIGNAL_KEYS.items():
        own.discipline.receive(b"line\npart%clater\n" % key)
        assert own.signals.pop() == number
        assert own.reads(100) == [b"later\n"]
    own.discipline.change_settings(Termios(lflag=STANDARD.lflag | ours.NOFLSH))
    own.discipline.receive(b"line\npart\x03later\n")
    assert own.reads(100) == [b"line\n", b"partlater\n"]
    own.discipline.receive(b"typed\n")
    own.discipline.flush_input()
    assert own.reads(100) == []


def test_ends_of_file_are_no_bytes_to_read() -> None:
    own = OurTerminal()
    own.discipline.receive(b"ab\x04\x04c\n\x04d")
    assert own.discipline.readable_bytes() == 4
    assert own.reads(100) == [b"ab", b"", b"c\n", b""]
    assert own.discipline.readable_bytes() == 0


def test_structures_are_those_of_s390() -> None:
    assert len(STANDARD.pack()) == 36
    assert len(STANDARD.pack2()) == 44
    assert STANDARD.pack().hex() == "0000050000000005000000bf00008a3b00031c7f150400010011131a00120f1716000000"
    assert Termios.unpack(STANDARD.pack2()) == STANDARD
