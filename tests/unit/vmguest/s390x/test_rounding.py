"""A program rounds as its floating-point control register says, also when a handler that rounded otherwise is over."""

import pytest
from assembly390_support import assemble, assembler
from guest390_support import Ended, Guest390

pytestmark = assembler
NEAREST, TO_ZERO, UP, DOWN = range(4)

# The last bits of 1/3 are 0x55 where it is rounded down, or to nearest, and 0x56 where it is rounded up.
PROGRAM = """
        .set before, {before}
        handle 10, {flags}
        srnm before
        send 10
        larl %r4, numbers
        ld %f0, 0(%r4)
        ddb %f0, 8(%r4)
        lgdr %r2, %f0
        nill %r2, 0xff
        svc exit_group
handler:
        {body}
        br %r14
        .balign 8
numbers: .quad 0x3ff0000000000000, 0x4008000000000000
"""
CHANGE = "srnm {inside}"
# The ucontext, whose address is in register 4, has the floating-point control register behind 40 bytes and
CHANGE_SAVED = "mvi {offset}(%r4), {inside}"
# PSW, general and access registers.
FPC_OFFSET = 40 + 16 + 128 + 64


@pytest.mark.parametrize(
    ("before", "inside", "wanted"), [(UP, TO_ZERO, 0x56), (DOWN, UP, 0x55), (NEAREST, UP, 0x55), (UP, UP, 0x56)]
)
def test_what_a_handler_sets_ends_with_it(guest: Guest390, before: int, inside: int, wanted: int) -> None:
    source = PROGRAM.format(before=before, flags=0, body=CHANGE.format(inside=inside))
    assert guest.run_code(assemble(source)) == Ended(wanted, b"")


@pytest.mark.parametrize(("saved", "wanted"), [(UP, 0x56), (DOWN, 0x55), (5, 0x55), (0x88, 0x55)])
def test_what_a_handler_changes_in_the_saved_state_counts(guest: Guest390, saved: int, wanted: int) -> None:
    body = CHANGE_SAVED.format(offset=FPC_OFFSET + 3, inside=saved)
    source = PROGRAM.format(before=DOWN, flags=4, body=body)
    assert guest.run_code(assemble(source)) == Ended(wanted, b"")
