"""The frame of a signal handler, as <asm/ucontext.h> and <asm/sigcontext.h> lay it out."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from vmguest.s390x.cpu import PSW_MASK, Registers
from vmguest.s390x.signal_frame import (
    CONTEXT_AT,
    FRAME_BYTES,
    INFO_AT,
    AlternateStack,
    frame_address,
    pack_frame,
    unpack_context,
)
from vmguest.s390x.signals import SIGKILL, SIGSTOP, Pending, SignalInfo, bit, blockable

doublewords = st.integers(0, (1 << 64) - 1)
words = st.integers(0, (1 << 32) - 1)


def tuples(of: st.SearchStrategy[int], count: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(of, min_size=count, max_size=count).map(tuple)


states = st.builds(
    Registers,
    st.just(PSW_MASK),
    doublewords,
    tuples(doublewords, 16),
    tuples(words, 16),
    words,
    tuples(doublewords, 32),
    tuples(doublewords, 32),
)
stacks = st.builds(AlternateStack, doublewords, st.sampled_from([0, 1, 2]), doublewords)


@given(state=states, blocked=doublewords, stack=stacks)
def test_all_that_a_frame_holds_comes_back(state: Registers, blocked: int, stack: AlternateStack) -> None:
    frame = pack_frame(state, SignalInfo.fault(11, 1, 0x1234).pack(), blocked, stack)
    assert len(frame) == FRAME_BYTES
    assert unpack_context(frame[CONTEXT_AT:]) == (state, blocked, stack)


def test_where_a_handler_finds_what_it_looks_for() -> None:
    state = Registers(
        PSW_MASK,
        0x1000,
        tuple(range(16)),
        tuple(range(100, 116)),
        0xF8000000,
        tuple(range(200, 232)),
        tuple(range(300, 332)),
    )
    frame = pack_frame(state, SignalInfo.fault(11, 2, 0x5678).pack(), 0x200, AlternateStack(0x9000, 0, 8192))
    assert struct.unpack_from(">Q", frame) == (15,)  # the back chain: the stack pointer
    assert frame[160:162] == b"\x0a\xad"
    assert struct.unpack_from(">iiiiQ", frame, INFO_AT) == (11, 0, 2, 0, 0x5678)
    context = frame[CONTEXT_AT:]
    assert struct.unpack_from(">QQQiiQ", context) == (2, 0, 0x9000, 0, 0, 8192)
    assert struct.unpack_from(">QQ16Q", context, 40) == (PSW_MASK, 0x1000, *range(16))
    assert struct.unpack_from(">16IIi16Q", context, 184) == (*range(100, 116), 0xF8000000, 0, *range(200, 216))
    assert struct.unpack_from(">Q", context, 384) == (0x200,)
    assert struct.unpack_from(">16Q", context, 512) == tuple(range(300, 316))
    assert struct.unpack_from(">4Q", context, 640) == (216, 316, 217, 317)


@given(pointer=st.integers(1 << 20, (1 << 64) - 1))
def test_a_frame_lies_below_the_stack_pointer(pointer: int) -> None:
    address = frame_address(pointer)
    assert address % 8 == 0
    assert pointer - FRAME_BYTES - 8 < address <= pointer - FRAME_BYTES


@given(sent=st.lists(st.integers(1, 64), max_size=30), wanted=doublewords)
def test_signals_wait_until_they_are_wanted(sent: list[int], wanted: int) -> None:
    pending = Pending()
    for number in sent:
        pending.add(SignalInfo(number, 0))
    expected = sorted([each for each in sent if each >= 32] + [each for each in set(sent) if each < 32])
    taken = []
    while (info := pending.take(wanted)) is not None:
        taken.append(info.number)
    assert sorted(taken) == [each for each in expected if bit(each) & wanted]
    assert [each for each in taken if each >= 32] == sorted(each for each in taken if each >= 32)
    assert pending.mask == sum({bit(each) for each in expected if not bit(each) & wanted})


def test_queued_signals_are_not_queued_without_end() -> None:
    pending = Pending()
    for _ in range(5000):
        pending.add(SignalInfo(40, 0))
    assert len(list(pending)) == 1024


@given(mask=doublewords)
def test_sigkill_and_sigstop_cannot_be_blocked(mask: int) -> None:
    assert blockable(mask) == mask & ~(bit(SIGKILL) | bit(SIGSTOP))
