"""DEFSEG's words, and the definition written back as words."""

import pytest
from cp_support import define
from hypothesis import given
from hypothesis import strategies as st

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName, SegmentType
from dcss.cp.console.definition import definition_words, parse_definition, parse_names
from dcss.cp.console.messages import CommandError

TYPES = [kind for kind in SegmentType if kind is not SegmentType.EWEN]


def test_all_words() -> None:
    found = parse_definition(["TEST", "2000-20FF", "SR", "100-1FF", "EW", "7FF-7FF", "EN", "LOADNSHR", "SECURE"])
    assert found == define("TEST", "100-1FF EW", "7FF-7FF EN", "2000-20FF SR", load_non_shared=True, secure=True)
    assert parse_definition(["MONDCSS", "9000-97FF", "SC", "RSTD"]).restricted


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "HCPCMD026E Operand missing or invalid"),
        ("TEST", "HCPCMD026E Operand missing or invalid"),
        ("TEST 1-2", "HCPCMD026E Operand missing or invalid"),
        ("TEST 1-2 SR 3-4", "HCPCMD026E Operand missing or invalid"),
        ("TOOLONGNAME 1-2 SR", "HCPCMD002E Invalid operand - TOOLONGNAME"),
        ("TE.ST 1-2 SR", "HCPCMD002E Invalid operand - TE.ST"),
        ("TEST 1-G SR", "HCPCMD005E Invalid hexdata - 1-G"),
        ("TEST 2-1 SR", "HCPCMD005E Invalid hexdata - 2-1"),
        ("TEST 1-8000000 SR", "HCPCMD005E Invalid hexdata - 1-8000000"),
        ("TEST 1-2-3 SR", "HCPCMD005E Invalid hexdata - 1-2-3"),
        ("TEST SR 1-2", "HCPCMD005E Invalid hexdata - SR"),
        ("TEST 1-2 XX", "HCPCMD003E Invalid option - XX"),
        ("TEST 1-2 EWEN", "HCPCMD003E Invalid option - EWEN"),
        ("TEST 1-2 SR SPACE OTHER", "HCPCMD003E Invalid option - SPACE"),
        ("TEST 1-2 SR LOADNSHR 3-4 SR", "HCPCMD003E Invalid option - 3-4"),
        ("TEST 1-2 SR LOADNSHR RSTD", "HCPCMD013E Conflicting option - RSTD"),
        ("TEST 1-2 SR RSTD RSTD", "HCPCMD013E Conflicting option - RSTD"),
    ],
)
def test_wrong_words(words: str, line: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_definition(words.split())
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("TEST 1-2 SR 2-3 SR", "overlap"),
        ("TEST 100-17F SR 180-1FF EW", "all exclusive or all shared"),
        ("TEST 1-2 SC LOADNSHR", "LOADNSHR goes neither"),
        ("TEST 0-7FF00 SR", "2047 MiB"),
    ],
)
def test_definitions_that_break_a_rule(words: str, reason: str) -> None:
    with pytest.raises(CommandError, match=rf"^HCPDCS9001E segment TEST: .*{reason}"):
        parse_definition(words.split())


@st.composite
def definitions(draw: st.DrawFn) -> SegmentDefinition:
    """Whole megabytes, so that the megabyte rule holds by itself."""
    first = draw(st.integers(0, 0x7FF0000)) & ~0xFF
    ranges = []
    for _ in range(draw(st.integers(1, 6))):
        last = first + draw(st.integers(1, 4)) * 0x100 - 1
        ranges.append(PageRange(first, last, draw(st.sampled_from(TYPES))))
        first = last + 1 + draw(st.integers(0, 3)) * 0x100
    restricted = draw(st.booleans())
    may = not restricted and all(each.type is not SegmentType.SC for each in ranges)
    return SegmentDefinition(
        SegmentName(draw(st.from_regex(r"[A-Z0-9@#$]{1,8}", fullmatch=True))),
        tuple(ranges),
        load_non_shared=may and draw(st.booleans()),
        restricted=restricted,
        secure=draw(st.booleans()),
    )


@given(definition=definitions())
def test_words_round_trip(definition: SegmentDefinition) -> None:
    assert parse_definition(definition_words(definition).split()) == definition


def test_words_as_extmem_writes_them() -> None:
    assert definition_words(define("LIB", "10000-10FFF SR")) == "LIB 10000-10FFF SR"


def test_the_names_of_a_device_are_each_given_once() -> None:
    assert parse_names("LIB") == ("LIB",)
    assert parse_names("LIB:MORE:THIRD") == ("LIB", "MORE", "THIRD")
    for words in ("LIB:LIB", "A:LIB:A", "LIB:", ":LIB", "TOOLONGNAME"):
        with pytest.raises(CommandError):
            parse_names(words)
