"""What general register 0 has where a call of CP stands: the function that STSI and IUCV are asked for.

Source: Principles of Operation, formats of the instructions by which compilers load constants.
"""

import re
from collections.abc import Iterable, Iterator

from dcss.engines.linux.instructions import Call, Site
from dcss.engines.linux.stsi import is_virtual_machine

_BACK_BYTES = 28  # six instructions: constants for two registers, and copies of them to 0 and 1
_JUMP_BYTES = 4096  # how far before and behind a site a jump to it is looked for
_IUCV_QUERY = 0  # how many connections there may be
# Relative branches: BRC, BRAS and BRCT; BRXHG and those that compare; BRCL and BRASL. The distance, in
# halfwords, begins in the third byte: it has two bytes, and four in the last ones.
_BRANCH = re.compile(
    rb"(?=\xa7[%b]|\xec[\0-\xff]{4}[\x44\x45\x64\x65\x76\x77\x7c-\x7f]|(\xc0)[%b])"
    % tuple(re.escape(bytes(high << 4 | low for high in range(16) for low in lows)) for lows in ((4, 5, 6, 7), (4, 5))),
    re.DOTALL,
)


def needed_sites(text: bytes, start: int, sites: Iterable[Site]) -> Iterator[Site]:
    """Yield those of `sites`, calls in a kernel's `text` that begins at `start`, that may be calls CP has an answer to.

    STSI matters where it may ask for virtual machines. A kernel's first call of IUCV is QUERY: where that is refused
    there is no other, so one that certainly is QUERY stands for all.
    """
    asked = [(site, function_of(text, site.address - start)) for site in sites]
    queries = [site for site, function in asked if site.call is Call.IUCV and function == _IUCV_QUERY]
    for site, function in asked:
        match site.call:
            case Call.STSI if function is not None and not is_virtual_machine(function):
                continue
            case Call.IUCV if queries and site not in queries:
                continue
        yield site


def function_of(text: bytes, offset: int) -> int | None:
    """Return the low word of register 0 at `offset`, where instructions before it certainly say which; else None."""
    found: set[tuple[int, int]] = set()  # the constant, and how far before `offset` the instructions begin
    for back in range(4, min(_BACK_BYTES, offset) + 1, 2):
        value = _register_0(text[offset - back : offset])
        if value is not None:
            found.add((value, back))
    if len({value for value, _ in found}) != 1:
        return None
    first = offset - min(back for _, back in found)
    return None if _is_entered(text, first, offset) else found.pop()[0]


def _register_0(code: bytes) -> int | None:
    """Return what register 0 has behind `code`, where that loads constants and copies registers, and nothing else."""
    registers: dict[int, int | None] = {}
    at = 0
    while at < len(code):
        match code[at], code[at + 1 : at + 2], code[at : at + 2]:
            case 0xC0, rest, _ if rest and rest[0] & 0xF == 9:  # IILF
                size, register, value = 6, rest[0] >> 4, int.from_bytes(code[at + 2 : at + 6], "big")
                registers[register] = value
            case 0xC4, rest, _ if rest and rest[0] & 0xF == 0xD:  # LRL
                size, register = 6, rest[0] >> 4
                registers[register] = None
            case 0xA7, rest, _ if rest and rest[0] & 0xF in {8, 9}:  # LHI, LGHI
                size, register = 4, rest[0] >> 4
                registers[register] = int.from_bytes(code[at + 2 : at + 4], "big", signed=True) & 0xFFFF_FFFF
            case 0x18, rest, _ if rest:  # LR
                size = 2
                registers[rest[0] >> 4] = registers.get(rest[0] & 0xF)
            case _, _, b"\xb9\x04":  # LGR
                size, both = 4, code[at + 3] if at + 3 < len(code) else 0
                registers[both >> 4] = registers.get(both & 0xF)
            case _:
                return None
        at += size
    return registers.get(0) if at == len(code) else None


def _is_entered(text: bytes, first: int, last: int) -> bool:
    """Say whether a relative branch nearby leads behind the instruction at `first`, up to `last`."""
    for match in _BRANCH.finditer(text, max(0, first - _JUMP_BYTES), last + _JUMP_BYTES):
        at = match.start()
        size = 4 if match[1] else 2
        distance = int.from_bytes(text[at + 2 : at + 2 + size], "big", signed=True)
        if first < at + 2 * distance <= last:
            return True
    return False
