"""Which of a kernel's calls CP has no answer to is told by the constants that it loads before them."""

import pytest

from dcss.engines.linux.function_codes import function_of, needed_sites
from dcss.engines.linux.instructions import Call, find_sites

# lg %r1,0(%r2); la %r3,8(%r4); lgr %r5,%r6; aghi %r7,1; stg %r8,16(%r15); br %r14
CODE = bytes.fromhex("e31020000004 41304008 b9040056 a77b0001 e380f0100024 07fe") * 4
STSI = "b27db000"  # stsi 0(%r11)
IUCV = "b2f01000"
# iilf %r5,FUNCTION; lhi %r4,0; lhi %r3,2; lr %r0,%r5; lr %r1,%r3: what GCC makes of Linux's stsi()
ASKED = "c059{} a7480000 a7380002 1805 1813 "
QUERY, CONNECT, ANY = "a7090000 b9040013 ", "a729000b b9040002 b9040013 ", "b9040002 b9040014 "


def text_of(*calls: str) -> bytes:
    return CODE + b"".join(bytes.fromhex(call) + CODE for call in calls)


def needed(text: bytes) -> list[int]:
    """Return the places of the calls that are needed, among all."""
    sites = list(find_sites(text, 0x1000))
    return [sites.index(site) for site in needed_sites(text, 0x1000, sites)]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (ASKED.format("30000002"), 0x3000_0002),
        (QUERY, 0),
        (CONNECT, 11),
        ("a708ffff 1812 ", 0xFFFF_FFFF),
        ("c00910000001 c41d00000010 ", 0x1000_0001),
        (ANY, None),  # a register that something else has set
        ("a7090000 1b00 ", None),  # what comes between is no copy
    ],
)
def test_a_constant_in_register_0_is_known_where_nothing_else_is_between(code: str, value: int | None) -> None:
    text = CODE + bytes.fromhex(code)
    assert function_of(text, len(text)) == value


@pytest.mark.parametrize(("instruction", "value"), [(0, 0x2000_0002), (6, None), (10, None), (16, None)])
def test_what_is_jumped_to_may_have_another_constant(instruction: int, value: int | None) -> None:
    """A jump to the first instruction has it loaded; one behind that may bring another."""
    code = bytes.fromhex(ASKED.format("20000002"))
    jump = bytes.fromhex("a7f4") + ((4 + len(CODE) + instruction) // 2).to_bytes(2, "big")
    text = jump + CODE + code
    assert function_of(text, len(text)) == value


def test_stsi_that_asks_for_something_else_is_left_out() -> None:
    text = text_of(*(ASKED.format(function) + STSI for function in ("10000001", "30000002", "f0000001")), ANY + STSI)
    assert needed(text) == [1, 3]


def test_a_query_stands_for_all_of_iucv() -> None:
    assert needed(text_of(CONNECT + IUCV, QUERY + IUCV, ANY + IUCV)) == [1]
    assert needed(text_of(CONNECT + IUCV, ANY + IUCV)) == [0, 1], "no QUERY is known"


def test_diagnoses_are_needed_whatever_register_0_has() -> None:
    text = text_of(QUERY + "83240064", QUERY + "83240008")
    assert [site.call for site in needed_sites(text, 0, find_sites(text, 0))] == [Call.DIAGNOSE_64, Call.DIAGNOSE_08]
