"""What is said of a guest's addresses: ranges up to, but without, their end."""

from dataclasses import replace

import pytest

from dcss.abi.extmem import SegmentType
from dcss.account.targets import AddressRange, GuestTarget, SegmentTarget

RANGE = AddressRange(0x1000, 0x3000)
GUEST = GuestTarget("LINUX01", "process", (1,), "shared", 0, AddressRange(0, 1), AddressRange(1, 2))
SEGMENT = SegmentTarget("LIB", SegmentType.SR, "/dcss.lib", 3, 0, 4096, None)


def test_a_range_holds_its_start_and_not_its_end() -> None:
    assert [address in RANGE for address in (0xFFF, 0x1000, 0x2FFF, 0x3000)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("start", "end", "overlaps"),
    [(0, 0x1000, False), (0, 0x1001, True), (0x2FFF, 0x9000, True), (0x3000, 0x9000, False), (0x1800, 0x1801, True)],
)
def test_ranges_overlap_where_they_have_a_byte_in_common(start: int, end: int, overlaps: bool) -> None:
    assert RANGE.overlaps(start, end) is overlaps


def test_memory_from_where_an_engines_range_begins_is_the_engines() -> None:
    guest = replace(GUEST, origins=((RANGE, "engine"), (AddressRange(0x3000, 0x4000), "program")))
    found = [guest.origin_of(address) for address in (0xFFF, 0x1000, 0x2FFF, 0x3000, 0x4000)]
    assert found == ["kernel", "engine", "engine", "program", "kernel"]


def test_a_segment_is_loaded_privately_by_its_type_or_by_the_load() -> None:
    assert not GUEST.loads_privately(SEGMENT)
    assert GUEST.loads_privately(replace(SEGMENT, type=SegmentType.ER))
    assert replace(GUEST, non_shared=frozenset({"/dcss.lib"})).loads_privately(SEGMENT)
    assert not replace(GUEST, non_shared=frozenset({"/dcss.other"})).loads_privately(SEGMENT)
