"""Random cases of single s390x instructions, and the program that runs them (tests/conformance/instruction_cases.c).

The table of instructions has a mnemonic, the hexadecimal digits of the instruction, and the oldest machine that has
it. Capital letters stand for digits that a case chooses: R, F, A and V for general, floating-point, access and vector
registers, B, X and D for an address, L for a length, M and I for masks and immediates, P for a relative address.
"""

import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

from needs_support import tool

TABLE = Path(__file__).parents[1] / "conformance" / "s390x_instructions.txt"
_SOURCE = Path(__file__).parents[1] / "conformance" / "instruction_cases.c"
_CASES, _OPERANDS, _NOW, _STATES = 0x2000000, 0x3000000, 0x3100000, 0x10000000  # addresses of the program's sections
_TO_UNTAKEN, _TO_TAKEN, _EXECUTED, _FIRST_STUB = _CASES, _CASES + 8, _CASES + 16, _CASES + 4096
_EXECUTED_COUNT = 8
_NOWHERE = (0, 0x500000)  # nothing is mapped there
_STUB_BYTES, _INSTRUCTION, _TAKEN = 24, 6, 18
_OPERAND_BYTES = 768
_REGISTERS = struct.Struct(f">16Q512sII64s{_OPERAND_BYTES}s")
_OUTCOME = struct.Struct(">iiQqQ")
_FIRST, _SECOND, _EXECUTE_BASE, _INDEX = 12, 13, 11, 14  # registers that hold addresses

_PAIRS = frozenset(
    ("mvcl", "mvcle", "mvclu", "clcl", "clcle", "clclu", "cksm", "clst", "srst", "srstu", "mvst", "tre", "troo", "trot")
) | frozenset(
    ("trto", "trtt", "trte", "trtre", "cuse", "cu12", "cu14", "cu21", "cu24", "cu41", "cu42", "cutfu", "cuutf", "mvpg")
)
_BRANCHES = frozenset(
    ("bc", "bct", "bctg", "bal", "bas", "bxh", "bxle", "bxhg", "bxleg", "crb", "cgrb", "clrb", "clgrb", "cib", "cgib")
) | frozenset(("clib", "clgib", "nop", "nopr", "bcr", "basr", "balr", "bctr", "bctgr"))
_PACKED = frozenset(("ap", "sp", "mp", "dp", "zap", "cp", "srp", "cvb", "cvbg", "cvby", "tp", "unpk", "mvo", "unpka"))
_EDITED = frozenset(("ed", "edmk"))


class Instruction(NamedTuple):
    """A row of the table."""

    mnemonic: str
    pattern: str
    machine: str

    @property
    def bytes(self) -> int:
        """Its length."""
        return len(self.pattern) // 2


class State(NamedTuple):
    """What an instruction finds, or leaves."""

    general: tuple[int, ...]
    vector: bytes  # the first eight bytes of each of the first 16 are the floating-point registers
    floating_control: int
    program_mask: int
    access: bytes
    operands: bytes

    def pack(self) -> bytes:
        """Return it as the program has it."""
        return _REGISTERS.pack(*self.general, *self[1:])

    @classmethod
    def unpack(cls, content: bytes) -> "State":
        """Read what the program has written."""
        fields = _REGISTERS.unpack(content)
        return cls(fields[:16], *fields[16:])


class Case(NamedTuple):
    """One instruction, and what it finds."""

    instruction: Instruction
    code: bytes
    state: State

    @property
    def mask(self) -> int:
        """The digit that chooses bytes, in ICM and CLM."""
        return self.code[1] & 15

    def __str__(self) -> str:
        return f"{self.instruction.mnemonic} {self.code.hex()}"


class Outcome(NamedTuple):
    """What an instruction leaves, and the signal that it causes, if any."""

    signal: tuple[int, int, int, int]  # number, code, address, how far behind the start of the instruction
    taken: int
    state: State

    def differences(self, other: "Outcome") -> frozenset[str]:
        """Name the parts that differ."""
        ours, theirs = self.state, other.state
        parts = {
            "signal": self.signal != other.signal,
            "branch": self.taken != other.taken,
            "general": ours.general != theirs.general,
            "floating": _halves(ours.vector, 0)[:16] != _halves(theirs.vector, 0)[:16],
            "vector": _halves(ours.vector, 8) != _halves(theirs.vector, 8)
            or _halves(ours.vector, 0)[16:] != _halves(theirs.vector, 0)[16:],
            "FPC": ours.floating_control != theirs.floating_control,
            "CC": (ours.program_mask ^ theirs.program_mask) >> 28 != 0,
            "program mask": (ours.program_mask ^ theirs.program_mask) >> 24 & 15 != 0,
            "access": ours.access[8:] != theirs.access[8:],
            "memory": ours.operands != theirs.operands,
        }
        return frozenset(name for name, differs in parts.items() if differs)


def _halves(vector: bytes, first: int) -> list[bytes]:
    return [vector[at : at + 8] for at in range(first, len(vector), 16)]


def differ_in_nans(ours: Outcome, theirs: Outcome) -> bool:
    """Return whether all floating-point registers that differ are NaNs, of any format, in both."""
    registers = [_halves(each.state.vector, 0)[:16] for each in (ours, theirs)]
    differing = [number for number in range(16) if registers[0][number] != registers[1][number]]
    # The right half of an extended number is two registers on.
    return all(
        any(_is_nan(each[number]) or (number >= 2 and _is_nan(each[number - 2])) for each in registers)
        for number in differing
    )


def _is_nan(register: bytes) -> bool:
    (bits,) = struct.unpack(">Q", register)
    return any(bits << 1 >> shift & all_ones == all_ones for shift, all_ones in ((56, 0xFF), (53, 0x7FF)))


def read_table() -> list[Instruction]:
    """Return the table of instructions."""
    lines = TABLE.read_text("ascii").splitlines()
    return [Instruction(*line.split()) for line in lines if not line.startswith("#")]


def outcomes(written: bytes) -> Iterator[Outcome]:
    """Read what the program has written."""
    size = _OUTCOME.size + _REGISTERS.size
    for at in range(0, len(written) - size + 1, size):
        *signal, taken = _OUTCOME.unpack_from(written, at)
        number, code, address, behind = signal
        yield Outcome((number, code, address, behind), taken, State.unpack(written[at + _OUTCOME.size : at + size]))


def build(cases: Sequence[Case], directory: Path) -> Path:
    """Make the program that runs cases."""
    stubs = bytearray()
    for index, case in enumerate(cases):
        place = _FIRST_STUB + index * _STUB_BYTES
        stub = bytes([0xC4, 0xF8]) + _relative(place, _NOW + 15 * 8) + case.code
        stub += b"\xc0\xf4" + _relative(place + len(stub), _TO_UNTAKEN)
        stub = stub.ljust(_TAKEN, b"\x07")
        stub += b"\xc0\xf4" + _relative(place + len(stub), _TO_TAKEN)
        stubs += stub
    (directory / "cases.bin").write_bytes(stubs)
    (directory / "states.bin").write_bytes(b"".join(case.state.pack() for case in cases))
    built = directory / "instruction_cases"
    compiler = tool("s390x-linux-gnu-gcc")
    assert compiler is not None
    places = [f"-Wl,--section-start={name}={place:#x}" for name, place in _SECTIONS]
    options = ("-O1", "-Wall", "-Werror", "-static", "-march=z13", "-mzarch")
    subprocess.run([compiler, *options, *places, "-o", built, _SOURCE], check=True, cwd=directory)
    return built


_SECTIONS = ((".cases", _CASES), (".operands", _OPERANDS), (".now", _NOW), (".states", _STATES))


def _relative(place: int, target: int) -> bytes:
    return struct.pack(">i", (target - place) // 2)


def make_cases(random: Random, instructions: Iterable[Instruction], count: Callable[[Instruction], int]) -> list[Case]:
    """Return as many cases of each instruction as `count` says."""
    cases: list[Case] = []
    for instruction in instructions:
        for _ in range(count(instruction)):
            cases.append(_Maker(random, instruction, _FIRST_STUB + len(cases) * _STUB_BYTES).case())
    return cases


@dataclass
class _Maker:
    """Makes one case. `place` is the address of its stub."""

    random: Random
    instruction: Instruction
    place: int

    def __post_init__(self) -> None:
        self.general = [_general(self.random) for _ in range(16)]
        self.general[_INDEX] = self.random.choice((0, 1, 8, self.random.randrange(16)))
        self.operands = bytearray(_operands(self.random))
        self.digits = list(self.instruction.pattern)
        self.lengths: list[int] = []

    def case(self) -> Case:
        """Choose all digits, then what the instruction finds."""
        self._registers()
        self._numbers()
        self._addresses()
        if self.instruction.mnemonic in _PAIRS:
            self._strings()
        random = self.random
        state = State(
            tuple(self.general),
            _vector(random),
            # qemu-s390x ends at exceptions of vector instructions.
            _floating_control(random, 0 if self.instruction.pattern.startswith("e7") else 0.15),
            random.randrange(4) << 28 | random.choice((0, 0, 0, random.randrange(16))) << 24,
            random.randbytes(64),
            bytes(self.operands),
        )
        return Case(self.instruction, bytes.fromhex("".join(self.digits)), state)

    def _places(self, letter: str) -> list[int]:
        return [at for at, digit in enumerate(self.instruction.pattern) if digit == letter]

    def _set(self, at: int, value: int) -> None:
        self.digits[at] = f"{value:x}"

    def _registers(self) -> None:
        random = self.random
        for at in self._places("R"):
            number = random.randrange(16)
            self._set(at, number & -2 if random.random() < 0.6 else number)
        for at in self._places("F"):
            self._set(at, random.choice((0, 1, 4, 5, 8, 9, 12, 13) if random.random() < 0.75 else range(16)))
        for at in self._places("V"):
            self._set(at, random.randrange(16))
        accesses = self._places("A")
        for at in accesses:
            self._set(at, random.randrange(2, 16))
        if len(accesses) == 2 and "B" in self.instruction.pattern:  # a range without the thread pointer
            for at, digit in zip(accesses, sorted(self.digits[at] for at in accesses), strict=True):
                self.digits[at] = digit
        if self.instruction.mnemonic in _BRANCHES and "B" not in self.instruction.pattern:
            number = random.randrange(16)
            self._set(len(self.digits) - 1, number)
            self.general[number] = self.place + _TAKEN

    def _numbers(self) -> None:
        random = self.random
        style = random.choice(("zero", "ones", "small", "random", "random", "random"))
        immediates = self._places("I")
        for at in immediates:
            value = {"zero": 0, "ones": 15, "small": 0}.get(style, random.randrange(16))
            self._set(at, random.randrange(16) if style == "small" and at == immediates[-1] else value)
        for at in self._places("M"):
            self._set(at, random.randrange(16))
        for at in self._places("L"):
            self._set(at, random.randrange(16))
            self.lengths.append(int(self.digits[at], 16) + 1)
        relatives = self._places("P")
        if relatives:
            self._relative_address(relatives)

    def _relative_address(self, relatives: list[int]) -> None:
        random, mnemonic = self.random, self.instruction.mnemonic
        target = self.place + _TAKEN
        if mnemonic == "exrl":
            target = _EXECUTED + 8 * random.randrange(_EXECUTED_COUNT)
            self.general[_FIRST : _SECOND + 1] = (_OPERANDS + 64, _OPERANDS + 320)
        elif self.instruction.pattern.startswith(("c4", "c6", "c0R0")):
            target = _OPERANDS + 64 + random.randrange(32) * random.choice((2, 8))
        offset = (target - self.place - _INSTRUCTION) // 2 & (1 << 4 * len(relatives)) - 1
        for at, digit in zip(relatives, f"{offset:0{len(relatives)}x}", strict=True):
            self.digits[at] = digit

    def _addresses(self) -> None:
        random, mnemonic = self.random, self.instruction.mnemonic
        targets = [64 + random.randrange(128), 320 + random.randrange(128)]
        if random.random() < 0.6:
            targets = [target & -16 for target in targets]
        for at in self._places("X"):
            self._set(at, random.choice((0, _INDEX)))
        for base, target, register in zip(self._places("B"), targets, self._bases(), strict=False):
            address = _OPERANDS + target
            if mnemonic in _BRANCHES:
                address = self.place + _TAKEN
            elif mnemonic == "ex":
                address = _EXECUTED + 8 * random.randrange(_EXECUTED_COUNT)
                self.general[_FIRST], self.general[_SECOND] = (_OPERANDS + each for each in targets)
            if random.random() < 0.02:
                address = random.choice(_NOWHERE) + random.randrange(2048)
            digits = next(count for count in (5, 3) if self.instruction.pattern[base + 1 :].startswith("D" * count))
            displacement = random.choice((0, random.randrange(4096), random.randrange(1 << 4 * digits)))
            text = f"{displacement:0{digits}x}"
            # The high part of a long displacement stands behind its low part, and has the sign.
            self.digits[base + 1 : base + 1 + digits] = text[-3:] + text[:-3]
            if digits == 5 and displacement >> 19:
                displacement -= 1 << 20
            self._set(base, register)
            index = self.general[_INDEX] if str(_INDEX) == str(self._index()) else 0
            self.general[register] = (address - displacement - index) & (1 << 64) - 1
        self._decimals(targets)

    def _bases(self) -> tuple[int, int]:
        """Return the registers for addresses; what EX executes uses the usual ones."""
        return (_EXECUTE_BASE, _SECOND) if self.instruction.mnemonic == "ex" else (_FIRST, _SECOND)

    def _index(self) -> int:
        places = self._places("X")
        return int(self.digits[places[0]], 16) if places else 0

    def _decimals(self, targets: list[int]) -> None:
        mnemonic, random = self.instruction.mnemonic, self.random
        if mnemonic in _PACKED:
            lengths = self.lengths if len(self.lengths) == 2 else [{"cvbg": 16, "srp": 16}.get(mnemonic, 8)] * 2
            if mnemonic == "srp":
                lengths = self.lengths * 2
            for target, length in zip(targets, lengths, strict=True):
                self.operands[target : target + length] = _packed(random, length)
        if mnemonic in _EDITED:
            source = b"".join(_packed(random, random.randrange(1, 6)) for _ in range(60))[:200]
            pattern = bytes(random.choice(b"\x20\x20\x20\x20\x21\x22\x4b\x40\x5c") for _ in range(256))
            self.operands[targets[0] : targets[0] + 256] = pattern
            self.operands[targets[1] : targets[1] + 200] = source

    def _strings(self) -> None:
        """Have the registers hold addresses and lengths: all of these instructions take pairs of them."""
        random, mnemonic = self.random, self.instruction.mnemonic
        for at, number in zip(self._places("R"), (2, 4), strict=False):
            self._set(at, number)
        first, second = 64 + random.randrange(128), 320 + random.randrange(128)
        length = random.randrange(60)
        self.general[2:6] = (
            _OPERANDS + first,
            length,
            _OPERANDS + second,
            random.choice((length, random.randrange(60))),
        )
        if mnemonic in {"srst", "srstu"}:
            self.general[2] = _OPERANDS + second + random.randrange(100)
        self.general[0] = random.choice((0, self.operands[second + random.randrange(50)]))
        self.general[1] = _OPERANDS + 4096  # a table
        if random.random() < 0.5:
            self.operands[second : second + 60] = self.operands[first : first + 60]


_EDGES = (0, 1, 2, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def _general(random: Random) -> int:
    kind = random.randrange(6)
    if kind == 0:
        return random.choice(_EDGES)
    if kind == 1:
        return random.randrange(256)
    if kind == 2:
        return -random.randrange(1, 1 << 31) & (1 << 64) - 1
    if kind == 3:
        return random.getrandbits(32)
    return random.getrandbits(64)


def _floating_control(random: Random, enabled: float) -> int:
    masks = random.getrandbits(5) << 27 if random.random() < enabled else 0
    flags = random.getrandbits(5) << 19 if random.random() < 0.2 else 0
    return masks | flags | random.choice((0, 0, 1, 2, 3, 7))


def _binary(random: Random, exponent_bits: int, fraction_bits: int) -> int:
    """Return a binary floating-point number: often one at an edge, often one near to 1."""
    largest, bias = (1 << exponent_bits) - 1, (1 << exponent_bits - 1) - 1
    exponent = random.choice((0, largest, largest - 1, 1, bias, bias - 1, bias + random.randrange(-12, 70)))
    fraction = random.choice((0, 0, 1, 1 << fraction_bits - 1, random.getrandbits(fraction_bits)))
    if random.random() < 0.3:  # few bits, as whole numbers and halves have
        fraction = random.getrandbits(6) << fraction_bits - 6
    return random.getrandbits(1) << exponent_bits + fraction_bits | exponent << fraction_bits | fraction


def _hexadecimal(random: Random, fraction_bits: int) -> int:
    exponent = random.choice((0, 127, 64, 63, 65, 64 + random.randrange(-16, 20)))
    fraction = random.choice((0, 1 << fraction_bits - 4, random.getrandbits(fraction_bits), random.getrandbits(8)))
    return random.getrandbits(1) << fraction_bits + 7 | exponent << fraction_bits | fraction


def _short_numbers(random: Random) -> bytes:
    return struct.pack(">4I", *(_binary(random, 8, 23) for _ in range(4)))


def _long_numbers(random: Random) -> bytes:
    return struct.pack(">2Q", *(_binary(random, 11, 52) for _ in range(2)))


def _extended_number(random: Random) -> bytes:
    return _binary(random, 15, 112).to_bytes(16, "big")


def _hexadecimal_numbers(random: Random) -> bytes:
    return struct.pack(">2Q", *(_hexadecimal(random, 56) for _ in range(2)))


def _text(random: Random) -> bytes:
    return bytes(random.choice(b"0123456789 abcdef\xf0\xf5\xf9\xc1\x40") for _ in range(16))


def _whole_numbers(random: Random) -> bytes:
    return struct.pack(">2Q", _general(random), _general(random))


def _one_byte(random: Random) -> bytes:
    return bytes([random.choice((0, 255, random.randrange(256)))]) * 16


_KINDS: tuple[Callable[[Random], bytes], ...] = (
    *(_short_numbers, _long_numbers, _extended_number, _hexadecimal_numbers, _text, _whole_numbers, _one_byte),
    lambda random: random.randbytes(16),
)


def _sixteen_bytes(random: Random) -> bytes:
    """Return a pair of doublewords of some kind: numbers, digits, text."""
    return random.choice(_KINDS)(random)


def _vector(random: Random) -> bytes:
    registers = [bytearray(random.randbytes(16)) for _ in range(32)]
    for first in (0, 1, 4, 5, 8, 9, 12, 13):  # an extended number is in registers N and N + 2
        number = _sixteen_bytes(random)
        registers[first][:8], registers[first + 2][:8] = number[:8], number[8:]
    if random.random() < 0.3:
        registers = [bytearray(_sixteen_bytes(random)) for _ in range(32)]
    return b"".join(registers)


def _operands(random: Random) -> bytes:
    content = b"".join(_sixteen_bytes(random) for _ in range(_OPERAND_BYTES // 16))
    if random.random() < 0.3:  # the second operand begins as the first does
        content = content[:320] + content[64:192] + content[448:]
    return content


def _packed(random: Random, length: int) -> bytes:
    """Return a packed decimal number; rarely one with a wrong digit or sign."""
    kind = random.randrange(4)
    digits = "".join(random.choice("0123456789") for _ in range(2 * length - 1))
    if kind == 0:
        digits = digits[-3:].rjust(2 * length - 1, "0")[-(2 * length - 1) :]
    elif kind == 1:
        digits = random.choice("09") * (2 * length - 1)
    sign = random.choice("cdcdfabe") if random.random() < 0.97 else random.choice("0123456789")
    return bytes.fromhex(digits + sign)
