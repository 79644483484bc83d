"""The square root of an extended number against exact arithmetic."""

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from vmguest.s390x.sqxbr import root_of

BIAS, BITS = 16383, 112
SIGN, INFINITY = 1 << 127, 0x7FFF << BITS
DEFAULT_NAN = INFINITY | 1 << BITS - 1
FINITE = INFINITY - 1

positive = st.integers(1, FINITE)


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
    root = root_of(number)
    below, above = (value_of(root) + value_of(root - 1)) / 2, (value_of(root) + value_of(root + 1)) / 2
    assert below**2 <= value_of(number) <= above**2


@given(root=st.integers(1, (1 << 56) - 1), power=st.integers(-4000, 4000))
def test_the_root_of_a_square_is_exact(root: int, power: int) -> None:
    def packed(value: int, power: int) -> int:
        exponent = value.bit_length() - 1
        return exponent + power + BIAS << BITS | (value << BITS - exponent) & (1 << BITS) - 1

    assert root_of(packed(root * root, 2 * power)) == packed(root, power)


@given(number=positive)
def test_of_what_is_below_zero_there_is_none(number: int) -> None:
    assert root_of(SIGN | number) == DEFAULT_NAN


@given(fraction=st.integers(1, (1 << BITS) - 1), sign=st.sampled_from([0, SIGN]))
def test_what_is_no_number_stays_so(fraction: int, sign: int) -> None:
    assert root_of(sign | INFINITY | fraction) == sign | INFINITY | fraction | 1 << BITS - 1


def test_zero_and_infinity() -> None:
    assert [root_of(each) for each in (0, SIGN, INFINITY, SIGN | INFINITY)] == [0, SIGN, INFINITY, DEFAULT_NAN]
