"""smaps, smaps_rollup and status of several kernels: exact names, bytes, and nothing summed that is not asked for."""

import os
from pathlib import Path

import numpy as np
import pytest

from dcss.account.smaps import parse_fields, parse_smaps, read_rollup, read_smaps, read_status

FIXTURES = Path(__file__).parent / "fixtures"


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.txt").read_bytes()


def test_smaps_of_4_14() -> None:
    cat, huge = parse_smaps(fixture("smaps-4.14"))
    assert cat.vma.path == b"/usr/bin/cat"
    assert cat.fields_bytes["Pss"] == 12 * 1024
    assert cat.fields_bytes["Locked"] == 0
    assert cat.flags == ("rd", "ex", "mr", "mw", "me", "dw")
    # Huge pages of hugetlbfs stand apart: they are neither in Rss nor in Pss.
    assert huge.vma.path == b"/dev/hugepages/guest ram (deleted)"
    assert (huge.fields_bytes["Rss"], huge.fields_bytes["Private_Hugetlb"]) == (0, 4096 * 1024)
    assert "Pss_Dirty" not in huge.fields_bytes


def test_smaps_of_5_3() -> None:
    (heap,) = parse_smaps(fixture("smaps-5.3"))
    assert heap.vma.path == b""
    assert (heap.fields_bytes["Size"], heap.fields_bytes["Swap"]) == (132 * 1024, 4 * 1024)
    assert "THPeligible" not in heap.fields_bytes  # a flag, not an amount


def test_smaps_of_6_18() -> None:
    segment, vvar = parse_smaps(fixture("smaps-6.18"))
    assert segment.vma.path == b"/dev/shm/dcss.demo.LIB"
    assert segment.fields_bytes["Pss"] == segment.fields_bytes["Pss_Dirty"] == 11377 * 1024
    assert "mw" not in segment.flags
    assert vvar.flags[3:] == ("io", "de", "dd")


@pytest.mark.parametrize(
    ("version", "pss_kb", "shmem_kb"), [("4.14", 430, None), ("5.3", 301, 4), ("6.18", 14561, 11377)]
)
def test_pss_of_rollup_is_pss_and_nothing_else(version: str, pss_kb: int, shmem_kb: int | None) -> None:
    fields = parse_fields(fixture(f"smaps_rollup-{version}"))
    assert fields["Pss"] == pss_kb * 1024
    assert fields.get("Pss_Shmem") == (None if shmem_kb is None else shmem_kb * 1024)
    # By prefix, Pss of 6.18 would come out at more than double.
    assert sum(value for name, value in fields.items() if name == "Pss") == pss_kb * 1024


def test_what_is_no_amount_is_left_out() -> None:
    assert parse_fields(b"Name:\tcat\nVmPTE:\t     244 kB\nThreads:\t1\nPss: -1 kB\nRss: 1 MB\nnothing\n\n") == {
        "VmPTE": 244 * 1024
    }


def test_own_books_agree_with_each_other() -> None:
    held = np.ones(3 << 20, np.uint8)
    rollup = read_rollup(os.getpid())
    mappings = read_smaps(os.getpid())
    assert held.nbytes < rollup["Anonymous"] <= rollup["Rss"]
    total = sum(mapping.fields_bytes["Rss"] for mapping in mappings)
    assert abs(total - rollup["Rss"]) < 2 << 20  # the two readings are not made at one instant
    assert 0 < read_status(os.getpid())["VmPTE"] < 64 << 20


def test_only_the_fields_that_are_wanted() -> None:
    assert parse_fields(b"Pss: 1 kB\nPss_Anon: 2 kB\nRss: 3 kB\n", frozenset({b"Pss", b"Swap"})) == {"Pss": 1024}
