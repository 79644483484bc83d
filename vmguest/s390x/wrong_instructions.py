"""Where pages of code have instructions that Unicorn 2.1.4 gets wrong, or dies of.

SQXBR (square root of an extended number) ends it while it translates. CHRL and CGHRL (compare with a halfword, whose
address is relative to the instruction's) compare with a word and a doubleword. CLFIT and CLGIT (compare logical with a
number, and trap) compare with signs.
"""

import re
from collections.abc import Iterator

# The bits that tell an instruction: of its first two bytes, or of its first and last one.
SQXBR, CHRL, CGHRL, CLFIT, CLGIT = 0xB316, 0xC605, 0xC604, 0xEC73, 0xEC71
_REGISTERS = [number << 4 for number in range(16)]


def _one_of(*low_digits: int) -> bytes:
    """Return the pattern of a byte whose first digit is any, as that of a register, and whose second one is given."""
    return b"[" + re.escape(bytes(register | digit for register in _REGISTERS for digit in low_digits)) + b"]"


# Only the first byte is taken by a match, so that the next one may begin in its second byte.
_PLACES = re.compile(
    rb"\xb3(?=\x16)|\xc6(?=%b)|\xec(?=%b..%b[\x71\x73])" % (_one_of(CHRL & 15, CGHRL & 15), _one_of(0), _one_of(0)),
    re.DOTALL,
)
_NEAR = frozenset({0x00, 0xFF})  # the first byte of a distance below 32 MiB
_WALKED_BYTES = 96  # further back than that, hardly any two ways to read code differ
_WITH_DISPLACEMENT = frozenset({0xE3, 0xE5, 0xE7, 0xEB, 0xED})  # their second halfword is an address, a third follows
LONGEST_BYTES = 6  # of all instructions


def instruction_bytes(first: int) -> int:
    """Return the length of an instruction by its first byte."""
    return (2, 4, 4, 6)[first >> 6]


def operation(instruction: bytes) -> int:
    """Return SQXBR, CHRL, CGHRL, CLFIT or CLGIT for such an instruction, else another number."""
    first = instruction[0] << 8 | instruction[1]
    if first == SQXBR:
        return first
    return first & 0xFF00 | instruction[5] if instruction[0] == CLFIT >> 8 else first & 0xFF0F


def find_wrong(code: memoryview, first: int = 0, end: int | None = None) -> Iterator[int]:
    """Yield where in code, from its byte `first` to `end`, such an instruction begins; what lies around helps to tell.

    CLFIT and CLGIT are found where all of their bytes are there.
    """
    end = len(code) if end is None else end
    for match in _PLACES.finditer(code, first):
        at = match.start()
        if at >= end:
            return
        if at % 2 == 0 and (is_square_root(code[at : at + 4]) if code[at] == SQXBR >> 8 else _is_compare(code, at)):
            yield at


def is_square_root(instruction: bytes | memoryview) -> bool:
    """Return whether bytes are SQXBR: its third byte is unused, and each operand a pair of registers.

    An instruction that the page's end cuts is one by the bytes that are there.
    """
    operands = (instruction[3] >> 4, instruction[3] & 15) if len(instruction) > 3 else (0, 0)
    return not any(instruction[2:3]) and not any(number & 2 for number in operands)


def _is_compare(code: memoryview, at: int) -> bool:
    """Return whether the bytes at a place, which look like one that compares, are an instruction.

    What CHRL compares with is near, and it is where instructions begin that follow each other: those before it are
    walked through from three places, one of which is right. From the others the walk comes to the same soon. Three
    bytes and more tell CLFIT and CLGIT; there one walk is enough.
    """
    start = max(0, at - _WALKED_BYTES)
    met = sum(_walk_meets(code, each, at) for each in (start, start + 2, start + 4))
    if code[at] == CLFIT >> 8:
        return met > 0
    if at + 2 < len(code) and code[at + 2] not in _NEAR:
        return False
    return met == 3 or (met == 2 and code[at - 2] not in _WITH_DISPLACEMENT)


def _walk_meets(code: memoryview, start: int, at: int) -> bool:
    while start < at:
        start += instruction_bytes(code[start])
    return start == at
