"""Instructions that are done in software: vmguest.s390x.wrong_instructions finds them."""

from vmguest.s390x.cpu import DATA, Cpu
from vmguest.s390x.space import UserSpace
from vmguest.s390x.square_root import root_of
from vmguest.s390x.wrong_instructions import CGHRL, CLFIT, CLGIT, SQXBR, operation

_DATA_EXCEPTION_CODE = 0xFF00  # in the floating-point control register
_ROUNDING = 7
_EQUAL, _LOW, _HIGH = 8, 4, 2  # bits of a mask of results


def perform(cpu: Cpu, space: UserSpace, address: int, instruction: bytes) -> int:
    """Do the instruction at an address; return 0, or the code of the program interruption that it causes.

    Raises FaultError where it loads what cannot be loaded.
    """
    found = operation(instruction)
    register = instruction[1] >> 4
    if found == SQXBR:
        return _square_root(cpu, instruction[3] >> 4, instruction[3] & 15)
    if found in {CLFIT, CLGIT}:
        return _compare_and_trap(cpu, register, 64 if found == CLGIT else 32, instruction[2:5])
    distance = 2 * int.from_bytes(instruction[2:], "big", signed=True)
    second = int.from_bytes(space.read((address + distance) & (1 << 64) - 1, 2), "big", signed=True)
    first = _signed(cpu.general(register), 64 if found == CGHRL else 32)
    cpu.set_condition((first < second) + 2 * (first > second))
    return 0


def _compare_and_trap(cpu: Cpu, register: int, bits: int, number_and_mask: bytes) -> int:
    """Do CLFIT or CLGIT: a data exception where the mask has the result."""
    first, second = cpu.general(register) & (1 << bits) - 1, int.from_bytes(number_and_mask[:2], "big")
    result = _EQUAL if first == second else _LOW if first < second else _HIGH
    if not number_and_mask[2] >> 4 & result:
        return 0
    cpu.floating_control |= _DATA_EXCEPTION_CODE  # all bits, for a trap
    return DATA


def _square_root(cpu: Cpu, target: int, source: int) -> int:
    """Do SQXBR; each operand is the pair of floating-point registers N and N+2.

    An IEEE exception whose mask is on leaves the target as it is; one whose mask is off sets its flag.
    """
    control = cpu.floating_control
    root = root_of(cpu.floating(source) << 64 | cpu.floating(source + 2), control & _ROUNDING)
    if root.exceptions & control >> 24:
        cpu.floating_control = control & ~_DATA_EXCEPTION_CODE | root.exceptions << 8
        return DATA
    cpu.floating_control = control | root.exceptions << 16
    cpu.set_floating(target, root.value >> 64)
    cpu.set_floating(target + 2, root.value & (1 << 64) - 1)
    return 0


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)
