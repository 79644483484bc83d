"""Segment names, types, ranges and definitions."""

import pytest

from dcss.abi.extmem import MAX_DCSS_ADDR, PageRange, SegmentDefinition, SegmentName, SegmentType

# EBCDIC of the characters that a name may have, written down from the code page 037 chart.
EBCDIC = {
    **{chr(ord("A") + i): 0xC1 + i for i in range(9)},
    **{chr(ord("J") + i): 0xD1 + i for i in range(9)},
    **{chr(ord("S") + i): 0xE2 + i for i in range(8)},
    **{str(i): 0xF0 + i for i in range(10)},
    "#": 0x7B,
    "@": 0x7C,
    "$": 0x5B,
}


@pytest.mark.parametrize("character", sorted(EBCDIC))
def test_each_character_of_a_name_round_trips(character: str) -> None:
    name = SegmentName(character * 3)
    assert name.ebcdic == bytes([EBCDIC[character]]) * 3 + b"\x40" * 5
    assert SegmentName.from_ebcdic(name.ebcdic) == name


@pytest.mark.parametrize("name", ["", "ABCDEFGHI", "lower", "A B", "A.B", "Ä", "A\n", "-A", "A\x00"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match="wanted 1 to 8 of A-Z 0-9 @ # "):
        SegmentName(name)


@pytest.mark.parametrize("ebcdic", [b"dummy\0\0\0", b"\x40" * 8, b"\0" * 8, b"\xd3\x40\xd3\x40\x40\x40\x40\x40"])
def test_names_that_are_not_ebcdic(ebcdic: bytes) -> None:
    with pytest.raises(ValueError, match="segment name"):
        SegmentName.from_ebcdic(ebcdic)


@pytest.mark.parametrize(
    ("kind", "value", "exclusive", "read_only", "shared_writable", "saved"),
    [
        ("SW", 0, False, False, True, True),
        ("EW", 1, True, False, False, True),
        ("SR", 2, False, True, False, True),
        ("ER", 3, True, True, False, True),
        ("SN", 4, False, False, True, False),
        ("EN", 5, True, False, False, False),
        ("SC", 6, False, True, False, False),
    ],
)
def test_types_mean_what_defseg_says(
    *, kind: str, value: int, exclusive: bool, read_only: bool, shared_writable: bool, saved: bool
) -> None:
    found = SegmentType[kind]
    assert (found, found.exclusive, found.read_only) == (value, exclusive, read_only)
    assert (found.shared_writable, found.saved, found.label) == (shared_writable, saved, kind)


def test_range_ends_at_its_last_byte() -> None:
    found = PageRange.parse("20000-23fff sr")
    assert (found.start, found.end, found.pages) == (0x20000000, 0x23FFFFFF, 0x4000)
    assert str(found) == "20000-23FFF SR"
    assert PageRange.parse("7-7 EN").pages == 1


@pytest.mark.parametrize(
    "words", ["20000 SR", "2-1 SR", "1-2 XX", "1-2 EWEN", "1-2", "1-8000000 SR", "1--2 SR", "1-2 SR SR", "g-h SR"]
)
def test_bad_ranges(words: str) -> None:
    with pytest.raises(ValueError, match="page range"):
        PageRange.parse(words)


def test_highest_page() -> None:
    assert PageRange.parse("7FFFFFF-7FFFFFF SR").end == MAX_DCSS_ADDR - 1


def definition(*words: str, **options: bool) -> SegmentDefinition:
    return SegmentDefinition(SegmentName("LIB"), tuple(map(PageRange.parse, words)), **options)


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ((), {}, "0 page ranges"),
        (("0-0 SR",) * 65, {}, "65 page ranges"),
        (("10-1F SR", "18-20 SR"), {}, "overlap"),
        (("20-2F SR", "10-1F SR"), {}, "ascending"),
        (("100-17F SR", "180-1FF EW"), {}, "all exclusive or all shared"),
        (("0-0 SR", "7FEFF-7FF00 SR"), {}, "2047 MiB"),
        (("0-0 SR",), {"load_non_shared": True, "restricted": True}, "LOADNSHR"),
        (("0-0 SC",), {"load_non_shared": True}, "LOADNSHR"),
    ],
)
def test_bad_definitions(words: tuple[str, ...], options: dict[str, bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        definition(*words, **options)


def test_one_megabyte_may_hold_ranges_that_agree_and_neighbours_that_do_not() -> None:
    found = definition("100-17F SR", "180-1FF SN", "200-2FF EW")
    assert found.size_bytes == 0x200 * 4096
    assert definition("0-7FEFF SR").size_bytes == 2047 << 20
