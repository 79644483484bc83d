"""Instructions that the emulator gets wrong do in a guest what the architecture says."""

from itertools import product

import pytest
from assembly390_support import assemble, assembler
from guest390_support import Ended, Guest390

from vmguest.s390x.wrong_instructions import find_wrong

pytestmark = assembler
EQUAL, LOW, HIGH = range(3)
SIGFPE, SIGSEGV = 8, 11
INVALID, INEXACT = 0x80, 0x08
TO_ZERO, UP, DOWN = 1, 2, 3

COMPARE = """
        lgrl %r7, number
        {mnemonic} %r7, halfword
        ipm %r2
        srl %r2, 28
        svc exit_group
        .balign 8
number: .quad {number}
        .short 0x7777
halfword: .short {halfword}, 0x7777, 0x7777, 0x7777
"""
# The last byte of the root of 2, with the flags in its place where they are wanted.
ROOT = """
        larl %r4, values
        lfpc 0(%r4)
        ld %f0, 8(%r4)
        ld %f2, 16(%r4)
        sqxbr %f4, %f0
        stfpc 0(%r4)
        lgdr %r2, %f6
        {take}
        nill %r2, 0xff
        svc exit_group
        .data
        .balign 8
values: .quad {control}, {high}, 0
"""
TWO, MINUS_TWO, FOUR = "0x4000000000000000", "0xc000000000000000", "0x4001000000000000"
FLAGS = "llgc %r2, 1(%r4)"


@pytest.mark.parametrize(
    ("mnemonic", "number", "halfword", "wanted"),
    [
        *((each, 5, 5, EQUAL) for each in ("chrl", "cghrl")),
        *((each, -5, -5, EQUAL) for each in ("chrl", "cghrl")),
        *((each, -32768, 32767, LOW) for each in ("chrl", "cghrl")),
        *((each, 0, -1, HIGH) for each in ("chrl", "cghrl")),
        ("chrl", 1 << 32, 0, EQUAL),
        ("cghrl", 1 << 32, 0, HIGH),
        ("chrl", 1 << 31, 0, LOW),
        ("cghrl", 1 << 31, 0, HIGH),
        ("cghrl", -(1 << 63), -32768, LOW),
    ],
)
def test_a_halfword_is_compared(guest: Guest390, mnemonic: str, number: int, halfword: int, wanted: int) -> None:
    source = COMPARE.format(mnemonic=mnemonic, number=number, halfword=halfword)
    assert guest.run_code(assemble(source)) == Ended(wanted, b"")


def test_a_halfword_that_cannot_be_loaded_is_a_fault(guest: Guest390) -> None:
    ended = guest.run_code(assemble("chrl %r7, . + 0x1000000\nleave 0"))
    assert ended.status == 128 + SIGSEGV


@pytest.mark.parametrize("page_offset", [4090, 4092, 4094])
def test_an_instruction_may_lie_in_two_pages(guest: Guest390, page_offset: int) -> None:
    source = f"""
        lghi %r7, 5
        jg across
        .balign 4096
        .rept {page_offset // 2}
        .short 0x0707
        .endr
across: chrl %r7, halfword
        ipm %r2
        srl %r2, 28
        svc exit_group
halfword: .short 4, 0x7777
"""
    assert guest.run_code(assemble(source)) == Ended(HIGH, b"")


@pytest.mark.parametrize(("rounding", "wanted"), [(0, 0x95), (TO_ZERO, 0x95), (UP, 0x96), (DOWN, 0x95)])
def test_the_square_root_is_rounded_as_the_program_says(guest: Guest390, rounding: int, wanted: int) -> None:
    source = ROOT.format(take="", control=rounding << 32, high=TWO)
    assert guest.run_code(assemble(source)).status == wanted


@pytest.mark.parametrize(("high", "wanted"), [(TWO, INEXACT), (FOUR, 0), (MINUS_TWO, INVALID)])
def test_the_square_root_sets_flags(guest: Guest390, high: str, wanted: int) -> None:
    source = ROOT.format(take=FLAGS, control=0, high=high)
    assert guest.run_code(assemble(source)) == Ended(wanted, b"")


@pytest.mark.parametrize(("high", "mask"), [(TWO, INEXACT), (MINUS_TWO, INVALID)])
def test_an_exception_whose_mask_is_on_is_a_signal(guest: Guest390, high: str, mask: int) -> None:
    source = ROOT.format(take=FLAGS, control=mask << 56, high=high)
    assert guest.run_code(assemble(source)).status == 128 + SIGFPE


@pytest.mark.parametrize(("mnemonic", "bits"), [("clfit", 32), ("clgit", 64)])
@pytest.mark.parametrize(
    ("number", "condition", "trapped"),
    [(10, "h", False), (11, "h", True), (-1, "h", True), (10, "e", True), (9, "l", True), (-1, "l", False)],
)
def test_numbers_without_signs_are_compared_for_a_trap(
    guest: Guest390, mnemonic: str, bits: int, number: int, condition: str, *, trapped: bool
) -> None:
    source = f"""
        lgrl %r7, number
        {mnemonic}{condition} %r7, 10
        leave 3
        .balign 8
number: .quad {number & (1 << bits) - 1 | (0 if bits == 64 else 1 << 63)}
"""
    assert guest.run_code(assemble(source)).status == (128 + SIGFPE if trapped else 3)


# What looks like CHRL within other instructions: lg %r1, 0x6f5(%r12); mvhi 0x6f5(%r12), 1; ic %r1, 0xff5(%r12)
INNER = ("e310c6f50004", "e544c6f50001", "e310c6f5ff04")
CHRL = "c61500001000"


@pytest.mark.parametrize(("inner", "distance"), list(product(INNER, range(0, 120, 2))))
def test_the_inside_of_an_instruction_is_none(inner: str, distance: int) -> None:
    code = bytes.fromhex("07fe" * (distance // 2) + inner + "07fe" * 20 + CHRL)
    assert list(find_wrong(memoryview(code))) == [len(code) - 6]


@pytest.mark.parametrize("register", range(16))
def test_it_is_found_with_each_register(register: int) -> None:
    for code in (
        f"c6{register:x}5ffff0000",
        f"c6{register:x}400000010",
        f"ec{register:x}0000a2073",
        f"ec{register:x}0ffffc071",
    ):
        assert list(find_wrong(memoryview(bytes.fromhex("07fe" * 60 + code)))) == [120]
