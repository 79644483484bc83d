"""SQXBR in software: the square root of an extended (128-bit) binary floating-point number."""

from math import isqrt

from vmguest.s390x.cpu import Cpu

_FRACTION_BITS = 112
_BIAS = 16383
_INFINITE = 0x7FFF
_SIGN = 1 << 127
_DEFAULT_NAN = _INFINITE << _FRACTION_BITS | 1 << _FRACTION_BITS - 1


def square_root(cpu: Cpu, instruction: bytes) -> None:
    """Do SQXBR R1,R2: each operand is the pair of floating-point registers N and N+2."""
    target, source = instruction[3] >> 4, instruction[3] & 15
    value = cpu.floating(source) << 64 | cpu.floating(source + 2)
    result = root_of(value)
    cpu.set_floating(target, result >> 64)
    cpu.set_floating(target + 2, result & (1 << 64) - 1)


def root_of(value: int) -> int:
    """Return the square root of a number by its 128 bits, rounded to nearest, ties to even (IEEE 754)."""
    exponent, fraction = value >> _FRACTION_BITS & _INFINITE, value & (1 << _FRACTION_BITS) - 1
    if exponent == _INFINITE and fraction:
        return value | 1 << _FRACTION_BITS - 1  # a NaN, made quiet
    if not exponent and not fraction:
        return value
    if value & _SIGN:
        return _DEFAULT_NAN
    if exponent == _INFINITE:
        return value
    if exponent:
        fraction |= 1 << _FRACTION_BITS
    else:
        exponent = 1
    power = exponent - _BIAS - _FRACTION_BITS  # value is fraction * 2 ** power
    shift = 2 * _FRACTION_BITS + 4
    shift += (power - shift) & 1
    scaled = fraction << shift
    root = isqrt(scaled)
    power = (power - shift) // 2
    extra = root.bit_length() - (_FRACTION_BITS + 1)
    low = root & (1 << extra) - 1
    inexact = root * root != scaled
    root >>= extra
    half = 1 << extra - 1
    if low > half or (low == half and (inexact or root & 1)):
        root += 1
        if root.bit_length() > _FRACTION_BITS + 1:
            root >>= 1
            extra += 1
    exponent = power + extra + _FRACTION_BITS + _BIAS
    return exponent << _FRACTION_BITS | root & (1 << _FRACTION_BITS) - 1
