"""The layout of the statistics area: sizes that other programs build in, and what tells torn slots from whole ones."""

import pytest

from dcss.abi import statistics as abi
from dcss.abi.diag08 import DIAGNOSE_08
from dcss.abi.diag64 import DIAGNOSE_64, Diag64


def test_every_slot_begins_at_a_word() -> None:
    head = abi.area_head(1, 3)
    assert abi.HEAD.size == 128
    assert (head.system_offset, head.guest_slot_bytes, head.segment_slot_bytes) == (128, 2048, 224)
    starts = (head.system_offset, head.guests_offset, head.segments_offset, head.claims_offset)
    assert not any(start % 8 for start in starts)
    assert head.size_bytes == head.claims_offset + head.claim_slot_bytes * head.claim_slots


def test_a_slot_holds_the_counts_behind_its_fields() -> None:
    assert abi.GUEST_SLOT.size + len(abi.FUNCTIONS) * 4 * 8 == abi.GUEST_SLOT_BYTES
    assert abi.GUEST_SLOT.size % 8 == 0


@pytest.mark.parametrize(
    ("diagnose", "function", "expected"),
    [
        (DIAGNOSE_64, Diag64.LOADSHR, "LOADSHR"),
        (DIAGNOSE_64, Diag64.SEGEXTX, "SEGEXTX"),
        (DIAGNOSE_64, 0x14, "OTHER"),
        (DIAGNOSE_64, 1 << 63, "OTHER"),
        (DIAGNOSE_08, 0x0C, "DIAG08"),
        (0x44, 0, "OTHER"),
    ],
)
def test_each_call_has_its_word(diagnose: int, function: int, expected: str) -> None:
    index, condition_code = divmod(abi.hypercall_word(diagnose, function, 2), abi.CONDITION_CODES)
    assert (abi.FUNCTIONS[index], condition_code) == (expected, 2)


def packed(*words: int) -> bytes:
    return b"".join(map(abi.WORD.pack, words))


@pytest.mark.parametrize(
    ("copy", "sequence", "whole"),
    [
        (packed(4, 4 + 5 + 6, 5, 6), 4, True),
        (packed(4, 4 + 5 + 6, 5, 7), 4, False),  # a word of a later state
        (packed(4, 4 + 5 + 6, 5, 6), 6, False),  # written since
        (packed(5, 5 + 5 + 6, 5, 6), 5, False),  # being written
        (packed(2, (2 + abi.WORD_MASK) & abi.WORD_MASK, abi.WORD_MASK, 0), 2, True),  # the sum is modulo 2**64
        (bytes(32), 0, True),  # never written
    ],
)
def test_a_torn_copy_is_told_from_a_whole_one(copy: bytes, sequence: int, whole: bool) -> None:
    assert abi.is_whole(copy, sequence) is whole


def test_text_is_cut_to_its_room_and_says_so() -> None:
    assert abi.fit("abc", 3) == (b"abc", False)
    assert abi.fit("abcd", 3) == (b"abc", True)
    assert abi.text_of(abi.encode("a\udcffé").ljust(16, b"\0")) == "a\udcffé"
