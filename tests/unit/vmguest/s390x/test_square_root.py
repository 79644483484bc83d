"""The square root of an extended number against exact arithmetic."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmguest.s390x.square_root import DOWN, INEXACT, INVALID, NEAREST, TO_ODD, TO_ZERO, UP, root_of

BIAS, BITS = 16383, 112
SIGN, INFINITY = 1 << 127, 0x7FFF << BITS
QUIET = 1 << BITS - 1
DEFAULT_NAN = INFINITY | QUIET
FINITE = INFINITY - 1

MODES = (NEAREST, TO_ZERO, UP, DOWN, TO_ODD)

positive = st.integers(1, FINITE)
modes = st.sampled_from(MODES)


def value_of(number: int) -> Fraction:
    """Return what a finite number without a sign stands for."""
    exponent, fraction = number >> BITS, number & (1 << BITS) - 1
    if exponent:
        fraction |= 1 << BITS
    return Fraction(fraction) * Fraction(2) ** (max(exponent, 1) - BIAS - BITS)


@given(number=positive)
@example(number=1)
@example(number=(1 << BITS) - 1)
@example(number=1 << BITS)
@example(number=FINITE)
@example(number=BIAS << BITS)
@example(number=(BIAS << BITS) - 1)
@example(number=(BIAS << BITS) + 1)
def test_no_number_is_nearer_to_the_root(number: int) -> None:
    root = root_of(number, NEAREST).value
    below, above = (value_of(root) + value_of(root - 1)) / 2, (value_of(root) + value_of(root + 1)) / 2
    assert below**2 <= value_of(number) <= above**2


@given(number=positive)
@example(number=1)
@example(number=FINITE)
@example(number=(BIAS << BITS) - 1)
@example(number=(BIAS << BITS) + 1)
def test_other_modes_round_to_the_neighbours_of_the_root(number: int) -> None:
    below, above = root_of(number, DOWN), root_of(number, UP)
    square = value_of(number)
    exact = value_of(below.value) ** 2 == square
    assert above.value == below.value + (not exact)
    assert value_of(below.value) ** 2 <= square <= value_of(above.value) ** 2
    assert root_of(number, TO_ZERO) == below
    assert root_of(number, TO_ODD).value == below.value | (not exact)
    assert {root_of(number, mode).exceptions for mode in MODES} == {0 if exact else INEXACT}


@given(root=st.integers(1, (1 << 56) - 1), power=st.integers(-4000, 4000), mode=modes)
def test_the_root_of_a_square_is_exact(root: int, power: int, mode: int) -> None:
    def packed(value: int, power: int) -> int:
        exponent = value.bit_length() - 1
        return exponent + power + BIAS << BITS | (value << BITS - exponent) & (1 << BITS) - 1

    assert root_of(packed(root * root, 2 * power), mode) == (packed(root, power), 0)


@given(number=positive, mode=modes)
def test_of_what_is_below_zero_there_is_none(number: int, mode: int) -> None:
    assert root_of(SIGN | number, mode) == (DEFAULT_NAN, INVALID)


@given(fraction=st.integers(1, (1 << BITS) - 1), sign=st.sampled_from([0, SIGN]), mode=modes)
@example(fraction=1, sign=0, mode=NEAREST)
@example(fraction=QUIET, sign=SIGN, mode=NEAREST)
def test_what_is_no_number_stays_so(fraction: int, sign: int, mode: int) -> None:
    exceptions = 0 if fraction & QUIET else INVALID
    assert root_of(sign | INFINITY | fraction, mode) == (sign | INFINITY | fraction | QUIET, exceptions)


@pytest.mark.parametrize("mode", MODES)
def test_zero_and_infinity(mode: int) -> None:
    found = [root_of(each, mode) for each in (0, SIGN, INFINITY, SIGN | INFINITY)]
    assert found == [(0, 0), (SIGN, 0), (INFINITY, 0), (DEFAULT_NAN, INVALID)]
