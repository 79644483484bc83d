"""What crosses the console of a guest that runs programs, beside what dcss.abi.console has: a kind and a number first.

    host -> guest   R run: number, what to run   I standard input   F its end   W window size   S signal   C cancel
                    G what a debugger says to its program
                    K so many bytes of output were taken
    guest -> host   o, e what a program wrote to stdout, stderr   x its exit status
                    k so many bytes of its standard input were read   g what its debugger is told

The host gives each program a number of its own, so that several may run at once. Neither side sends more than
WINDOW_BYTES that the other one has not taken: who takes slowly has only the programs wait that write for him.
"""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from dcss.abi.console import OUTPUT_BYTES, PACKET_BYTES

WINDOW_BYTES = 4 * OUTPUT_BYTES  # of one stream, on its way
TAKEN_BYTES = OUTPUT_BYTES  # so many are taken before the other side hears of it

RUN, INPUT, INPUT_END, RESIZE, SIGNAL, CANCEL, OUTPUT_TAKEN, DEBUG = b"R", b"I", b"F", b"W", b"S", b"C", b"K", b"G"
OUTPUT, ERRORS, EXIT, INPUT_TAKEN, DEBUGGER = b"o", b"e", b"x", b"k", b"g"

SIZE = Struct("<HH")  # rows and columns
STATUS = Struct("<i")  # an exit status, or a signal's number
COUNT = Struct("<Q")
_HEAD = Struct("<cI")
HEAD_BYTES = _HEAD.size
_RUN = Struct("<BHHI")  # flags, rows, columns, words of the environment
_HAS_INPUT, _HAS_TERMINAL, _STRACE, _GDB = 1, 2, 4, 8


class TerminalSize(NamedTuple):
    """The size of a terminal's window in characters."""

    rows: int
    columns: int


class ProgramRequest(NamedTuple):
    """A program to run. Without `has_input`, its standard input is /dev/null; `terminal` is all three streams.

    `environment` has entries such as ``LANG=C``, beside those that every program gets.
    """

    words: tuple[bytes, ...]
    environment: tuple[bytes, ...] = ()
    directory: bytes = b"/"
    has_input: bool = False
    terminal: TerminalSize | None = None
    strace: bool = False
    gdb: bool = False

    def pack(self) -> bytes:
        """Return the data of one R packet. Raises ValueError: no word, a NUL in one, or too long for a packet."""
        strings = (self.directory, *self.environment, *self.words)
        if not self.words or any(b"\0" in string for string in strings):
            raise ValueError(f"command {list(self.words)}: wanted at least one word, and no NUL in any")
        flags = self.has_input * _HAS_INPUT | (self.terminal is not None) * _HAS_TERMINAL
        flags |= self.strace * _STRACE | self.gdb * _GDB
        rows, columns = self.terminal or (0, 0)
        data = _RUN.pack(flags, rows, columns, len(self.environment)) + b"\0".join(strings)
        if _HEAD.size + len(data) > PACKET_BYTES:
            raise ValueError(f"command of {len(data)} bytes: wanted at most {PACKET_BYTES - _HEAD.size}")
        return data

    @classmethod
    def unpack(cls, data: bytes) -> "ProgramRequest":
        """Read what `pack` made."""
        flags, rows, columns, variables = _RUN.unpack_from(data)
        directory, *strings = data[_RUN.size :].split(b"\0")
        return cls(
            tuple(strings[variables:]),
            tuple(strings[:variables]),
            directory,
            bool(flags & _HAS_INPUT),
            TerminalSize(rows, columns) if flags & _HAS_TERMINAL else None,
            bool(flags & _STRACE),
            bool(flags & _GDB),
        )


class ProgramEvent(NamedTuple):
    """What is to reach a program: INPUT or DEBUG and its bytes, INPUT_END, RESIZE and a SIZE, SIGNAL and a STATUS."""

    kind: bytes
    data: bytes = b""


class ProgramPacket(NamedTuple):
    """One packet about the program `number`."""

    kind: bytes
    number: int
    data: bytes

    @classmethod
    def unpack(cls, packet: bytes) -> "ProgramPacket":
        """Read a packet. Raises ValueError where it is too short for one."""
        if len(packet) < _HEAD.size:
            raise ValueError(f"packet of {len(packet)} bytes: wanted at least {_HEAD.size}")
        kind, number = _HEAD.unpack_from(packet)
        return cls(kind, number, packet[_HEAD.size :])


def head_of(kind: bytes, number: int) -> bytes:
    """Return how a packet about a program begins."""
    return _HEAD.pack(kind, number)


def pieces(data: bytes) -> Sequence[bytes]:
    """Return data in pieces that fit into one packet each."""
    return [data[start : start + OUTPUT_BYTES] for start in range(0, len(data), OUTPUT_BYTES)]
