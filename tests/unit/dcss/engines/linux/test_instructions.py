"""A kernel's calls of CP are found in its text, and what matches by chance is not."""

import pytest

from dcss.engines.linux.instructions import Call, Site, find_sites

# lg %r1,0(%r2); la %r3,8(%r4); lgr %r5,%r6; aghi %r7,1; stg %r8,16(%r15); br %r14 padded: what compilers emit
CODE = bytes.fromhex("e31020000004 41304008 b9040056 a77b0001 e380f0100024 07fe") * 4


@pytest.mark.parametrize(
    ("instruction", "call", "operands"),
    [
        ("b27d1000", Call.STSI, (1, 1)),
        ("b2f01000", Call.IUCV, (0xF, 0)),
        ("83240008", Call.DIAGNOSE_08, (2, 4)),
        ("83130064", Call.DIAGNOSE_64, (1, 3)),
    ],
)
def test_each_call_is_found(instruction: str, call: Call, operands: tuple[int, int]) -> None:
    text = CODE + bytes.fromhex(instruction) + CODE
    (site,) = find_sites(text, 0x1000)
    assert site == Site(0x1000 + len(CODE), bytes.fromhex(instruction))
    assert site.call is call
    if call is not Call.IUCV:
        assert site.operands == operands


def test_other_diagnoses_are_left_to_qemu() -> None:
    assert not list(find_sites(CODE + bytes.fromhex("83240258 83240500 8324009c") + CODE, 0))


def test_one_kind_alone_can_be_asked_for() -> None:
    text = CODE + bytes.fromhex("83240008 b27d1000") + CODE
    assert [site.call for site in find_sites(text, 0, Call.STSI)] == [Call.STSI]


def test_data_between_data_is_no_call() -> None:
    noise = bytes.fromhex("ff00fe01fd02fc03") * 20
    assert not list(find_sites(noise + bytes.fromhex("83240064") + noise, 0))


def test_an_odd_address_is_no_instruction() -> None:
    assert not list(find_sites(CODE + b"\x07" + bytes.fromhex("83240064") + b"\x07" + CODE, 0))
