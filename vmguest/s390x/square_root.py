"""The square root of an extended (128-bit) binary floating-point number, as IEEE 754 and s390x define it."""

from math import isqrt
from typing import NamedTuple

INVALID, INEXACT = 0x80, 0x08  # IEEE exceptions, as bytes 0 to 2 of the floating-point control register have them
NEAREST, TO_ZERO, UP, DOWN, TO_ODD = 0, 1, 2, 3, 7  # rounding modes of that register

_FRACTION_BITS = 112
_BIAS = 16383
_INFINITE = 0x7FFF
_SIGN = 1 << 127
_QUIET = 1 << _FRACTION_BITS - 1
_DEFAULT_NAN = _INFINITE << _FRACTION_BITS | _QUIET


class Root(NamedTuple):
    """The 128 bits of a square root, and the IEEE exceptions that it causes: INVALID, INEXACT or 0."""

    value: int
    exceptions: int


def root_of(value: int, rounding: int) -> Root:
    """Return the square root of a number by its 128 bits."""
    exponent, fraction = value >> _FRACTION_BITS & _INFINITE, value & (1 << _FRACTION_BITS) - 1
    if exponent == _INFINITE and fraction:
        return Root(value | _QUIET, 0 if fraction & _QUIET else INVALID)
    if not exponent and not fraction:
        return Root(value, 0)
    if value & _SIGN:
        return Root(_DEFAULT_NAN, INVALID)
    if exponent == _INFINITE:
        return Root(value, 0)
    if exponent:
        fraction |= 1 << _FRACTION_BITS
    else:
        exponent = 1
    return _finite_root(fraction, exponent - _BIAS - _FRACTION_BITS, rounding)


def _finite_root(fraction: int, power: int, rounding: int) -> Root:
    """Return the square root of fraction * 2 ** power."""
    shift = 2 * _FRACTION_BITS + 4
    shift += (power - shift) & 1
    scaled = fraction << shift
    root = isqrt(scaled)
    power = (power - shift) // 2
    extra = root.bit_length() - (_FRACTION_BITS + 1)
    low = root & (1 << extra) - 1
    beyond = root * root != scaled  # the exact root is larger than `root` is
    root >>= extra
    inexact = beyond or low != 0
    if inexact and _away_from_zero(root, low, beyond, 1 << extra - 1, rounding):
        root += 1
        if root.bit_length() > _FRACTION_BITS + 1:
            root >>= 1
            extra += 1
    elif inexact and rounding == TO_ODD:
        root |= 1
    exponent = power + extra + _FRACTION_BITS + _BIAS
    bits = exponent << _FRACTION_BITS | root & (1 << _FRACTION_BITS) - 1
    return Root(bits, INEXACT if inexact else 0)


def _away_from_zero(root: int, low: int, beyond: bool, half: int, rounding: int) -> bool:
    """Return whether a positive number is rounded up; `low` is what is cut off, compared with `half`."""
    if rounding == NEAREST:
        return low > half or (low == half and (beyond or bool(root & 1)))
    return rounding == UP
