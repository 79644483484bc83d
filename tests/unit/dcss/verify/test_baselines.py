"""Claim 5, on made-up findings: what counts as a file that a baseline read, and what makes it a copy in part."""

import numpy as np
import pytest
from segment_support import File, random_content
from verdict_support import WINDOW, guest, segment, snapshot

from dcss.abi.page import PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.pagemap import Flags
from dcss.results import Claim
from dcss.verify.claims import baselines
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.results import BaselineFindings, MemoryFindings
from dcss.verify.snapshot import Snapshot

ZEROS = bytes(PAGE_SIZE)
ONE, TWO, COMMON = (random_content(pages, seed) for pages, seed in ((3, 11), (2, 12), (1, 13)))
# /one has a page of zeros and one that /two has as well; /none is all zeros.
CONTENT = ONE + ZEROS + COMMON + TWO + COMMON + ZEROS
FILES = (File(b"/one", ((0, 0, 5),)), File(b"/two", ((0, 5, 3),)), File(b"/none", ((0, 8, 1),)))


def baseline(*pages_found: int, read: bool = True, shared_pages: int = 0) -> Snapshot:
    """A baseline that holds pages of the segment, by their numbers."""
    views = [segment("LIB", CONTENT, FILES)]
    taken = snapshot(views, [guest("SHARES", views), guest("COPIES", views, expect="copies")])
    contents = taken.search.contents = Contents.of(views)
    found: Flags = np.zeros(len(contents), np.bool_)
    found[contents.of_page[0][list(pages_found)]] = True
    findings = BaselineFindings(found, found if read else np.zeros_like(found), shared_pages, 0x1234000)
    taken.search.guests = {"SHARES": MemoryFindings(), "COPIES": MemoryFindings(baseline=findings)}
    return taken


def judged(taken: Snapshot) -> Claim:
    claim = baselines.judge(taken)
    assert claim is not None
    return claim


ALL_OF_ONE, ALL_OF_TWO = (0, 1, 2, 4), (5, 6, 7)


@pytest.mark.parametrize(
    ("pages", "detail"),
    [
        (ALL_OF_ONE, "1 file (4 pages)"),
        (ALL_OF_TWO, "1 file (3 pages)"),
        (ALL_OF_ONE + ALL_OF_TWO, "2 files (6 pages)"),
    ],
)
def test_files_that_are_there_whole(pages: tuple[int, ...], detail: str) -> None:
    assert judged(baseline(*pages)) == Claim(
        "baselines-copy",
        True,
        f"{detail} in 1 baseline guest: found whole, each page in a frame of that guest alone",
    )


@pytest.mark.parametrize(
    ("pages", "finding"),
    [
        ((0, 1, 4), "LIB:/one: 1 of 5 pages not found in its memory, so shared or not read"),
        ((2,), "LIB:/one: 3 of 5 pages not found in its memory, so shared or not read"),
        ((5, 6), "LIB:/two: 1 of 3 pages not found in its memory, so shared or not read"),
    ],
)
def test_a_file_of_which_some_pages_are_missing(pages: tuple[int, ...], finding: str) -> None:
    assert judged(baseline(*pages)) == Claim("baselines-copy", False, f"guest COPIES: {finding}")


@pytest.mark.parametrize("pages", [(), (4,)])
def test_a_page_of_several_files_says_not_which_was_read(pages: tuple[int, ...]) -> None:
    claim = judged(baseline(*pages))
    assert claim.detail == "guest COPIES: nothing was read: its memory holds no file of a segment"
    assert claim.holds is False


def test_what_stands_in_other_pages_only_was_not_read() -> None:
    assert judged(baseline(0, read=False)).detail.startswith("guest COPIES: nothing was read")
    assert judged(baseline(*ALL_OF_ONE, 5, read=False)).holds is True


@pytest.mark.parametrize(("shared_pages", "words"), [(1, "1 page"), (7, "7 pages")])
def test_copies_in_frames_of_others(shared_pages: int, words: str) -> None:
    claim = judged(baseline(*ALL_OF_ONE, shared_pages=shared_pages))
    where = "the first at 0x1234000, in frames that others map as well"
    assert claim == Claim("baselines-copy", False, f"guest COPIES: {words}, {where}")


def test_what_is_mapped_instead_of_read() -> None:
    taken = baseline(*ALL_OF_ONE)
    vma = Vma(WINDOW.start, WINDOW.end, "r--s", 0, 1, 2, b"/dev/shm/x")
    taken.guests[1].outside_window.append(vma)
    taken.guests[1].foreign_mappings.append(vma._replace(start=0x1800000, path=b"/usr/lib/y"))
    taken.guests[0].foreign_mappings.append(vma)  # of a guest that shares: another claim's
    assert judged(taken).detail == (
        "guest COPIES: segment object /dev/shm/x is mapped at 0x1000000 instead of being copied; "
        "guest COPIES: file /usr/lib/y is mapped at 0x1800000 instead of being copied"
    )


def test_what_could_not_be_searched_leaves_it_open() -> None:
    taken = baseline(0)
    taken.search.guests["COPIES"].denied.append("process 1: closed")
    assert judged(taken) == Claim("baselines-copy", None, "process 1: closed")
    for hidden in ("baseline", "contents"):
        taken = baseline(0)
        if hidden == "contents":
            taken.search.contents = None
        else:
            taken.search.guests["COPIES"].baseline = None
        assert judged(taken).detail.startswith("0 files (0 pages) in 1 baseline guest")
    taken = baseline(0)
    taken.guests[1].denied = "no right"
    assert judged(taken) == Claim("baselines-copy", None, "guest COPIES: no right")


def test_it_says_nothing_where_nobody_should_copy() -> None:
    taken = baseline()
    del taken.guests[1]
    assert baselines.judge(taken) is None
