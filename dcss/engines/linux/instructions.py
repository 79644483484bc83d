"""Where in a kernel's text the instructions are by which it reaches its control program.

They are found by their bytes; what matches by chance is told by decoding what stands before it. One site too few is a
call that CP never sees. One too many changes nothing but costs time, as each breakpoint does: QEMU compares all of them
with where each jump leads.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

_DECODED_BYTES = (64, 66, 68)  # before a site: from one of these places on, instructions lead to it
_COMMON_SHARE = 0.7
_LENGTHS_BYTES = (
    2,
    4,
    4,
    6,
)  # by the first byte's two highest bits: Principles of Operation
# First bytes of the instructions that compilers emit most.
_COMMON = frozenset(
    bytes.fromhex(
        "07 10111213141516171819 1a1b1e1f 40414448 4a4b 50545556575859 5a5b 909192949596 a5a7b2b9 c0c2c4c6 d2d5d7dc"
        "e3e5ebec"
    )
)


class Call(Enum):
    """An instruction that CP has a part in."""

    STSI = "STSI"
    IUCV = "IUCV"
    DIAGNOSE_08 = "DIAG 08"
    DIAGNOSE_64 = "DIAG 64"


_PATTERNS = {
    Call.STSI: rb"\xb2\x7d[\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0]\0",  # stsi 0(%rx)
    Call.IUCV: rb"\xb2\xf0\x10\0",
    Call.DIAGNOSE_08: rb"\x83[\0-\xff]\0\x08",  # diag %rx,%ry,8
    Call.DIAGNOSE_64: rb"\x83[\0-\xff]\0\x64",
}
_ANY = re.compile(b"(?=(?:" + b"|".join(_PATTERNS.values()) + b"))", re.DOTALL)


class Site(NamedTuple):
    """Where an instruction stands, and its four bytes."""

    address: int
    code: bytes

    @property
    def call(self) -> Call:
        """What it is."""
        return next(call for call, pattern in _PATTERNS.items() if re.fullmatch(pattern, self.code, re.DOTALL))

    @property
    def operands(self) -> tuple[int, int]:
        """The numbers of the general registers in its second byte, or for STSI that of its base register, twice."""
        byte = self.code[2 if self.call is Call.STSI else 1]
        return byte >> 4, byte >> 4 if self.call is Call.STSI else byte & 0xF


def find_sites(text: bytes, address: int, only: Call | None = None) -> Iterator[Site]:
    """Yield the calls in `text`, whose first byte stands at `address`."""
    for match in _ANY.finditer(text):
        offset = match.start()
        if offset % 2:
            continue
        site = Site(address + offset, text[offset : offset + 4])
        if (only is None or site.call is only) and _is_code(text, offset):
            yield site


def _is_code(text: bytes, offset: int) -> bool:
    """Say whether instructions lead to `offset`, most of them common ones."""
    for back in _DECODED_BYTES:
        at, opcodes = max(0, offset - back), []
        while at < offset:
            opcodes.append(text[at])
            at += _LENGTHS_BYTES[text[at] >> 6]
        if at == offset and sum(opcode in _COMMON for opcode in opcodes) > _COMMON_SHARE * len(opcodes):
            return True
    return False
