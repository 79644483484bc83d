"""A file of a file system over two segments is one file to every claim: whole, touched in part, copied in part."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from claim_support import BASELINES, NO_COPIES, ONE_FRAME, assert_only_false, assert_verified, detail
from evidence_support import one_frame_per_page, read
from needs_support import needs
from segment_support import ADDRESS, PAGES, File, Stage, order, random_content

from dcss.abi.page import PAGE_SIZE
from dcss.verify.examine import verify

pytestmark = needs("frames")

LOWER_PAGES = PAGES - 16
# The file over the border has the last 16 pages of the lower segment and the first 8 of the upper one.
LOWER = (File(b"/lib/lower.so", ((0, 8, 40),)), File(b"/lib/both.so", ((0, LOWER_PAGES, 16),)))
UPPER = (File(b"/lib/both.so", ((16, 0, 8),)), File(b"/lib/upper.so", ((0, 20, 4),)))


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage with two segments that adjoin, over which one file system lies."""
    with Stage() as stage:
        stage.publish(random_content(seed=1), LOWER, name="LOWER")
        stage.publish(random_content(seed=2), UPPER, name="UPPER")
        joined = tuple(segment.shm_name for segment in stage.segments)
        stage.segments = [replace(segment, joined=joined) for segment in stage.segments]
        yield stage


def devices() -> list[list[Any]]:
    return [
        order("device", address=ADDRESS, pages=PAGES),
        order("device", address=ADDRESS + PAGES * PAGE_SIZE, pages=PAGES, segment=1),
    ]


def map_both(touched_in_upper: int = 8) -> list[list[Any]]:
    """Orders of a guest that maps the file over the border, in two mappings that adjoin."""
    return [
        order("map", at=0, page=LOWER_PAGES, pages=16),
        order("map", at=16, page=0, pages=8, segment=1, touched=touched_in_upper),
    ]


def test_a_file_over_the_border_is_listed_once(stage: Stage, tmp_path: Path) -> None:
    for _ in range(2):
        stage.guest([*devices(), *map_both(), order("map", at=100, page=8, pages=40)])
    stage.guest([*devices(), order("map", at=0, page=20, pages=4, segment=1)])
    result = verify(stage.system, evidence_path=tmp_path / "evidence")
    assert_verified(result)
    two = ("LINUX01", "LINUX02")
    assert [(f.segment, f.path, f.pages, f.checked_pages, f.guests, f.distinct_frames) for f in result.files] == [
        ("LOWER", "/lib/lower.so", 40, 40, two, 40),
        ("LOWER:UPPER", "/lib/both.so", 24, 24, two, 24),
        ("UPPER", "/lib/upper.so", 4, 4, ("LINUX03",), 4),
    ]
    assert "68 pages of 3 files, mapped by 3 guests" in detail(result, ONE_FRAME)
    assert one_frame_per_page(read(tmp_path / "evidence"))
    assert [segment["joined"] for segment in read(tmp_path / "evidence")["segment"]] == [["LOWER", "UPPER"]] * 2


@pytest.mark.parametrize("touched", [0, 3])
def test_pages_beyond_the_border_that_a_guest_has_not_touched_are_unchecked(
    stage: Stage, tmp_path: Path, touched: int
) -> None:
    stage.guest([*devices(), *map_both()])
    stage.guest([*devices(), *map_both(touched)])
    result = verify(stage.system, evidence_path=tmp_path / "evidence")
    assert_verified(result)  # as of one segment: some of its pages are checked
    (file,) = result.files
    assert (file.pages, file.checked_pages, file.shared) == (24, 16 + touched, True)
    assert one_frame_per_page(read(tmp_path / "evidence"))


def test_a_guest_that_maps_the_lower_part_alone_maps_the_file(stage: Stage) -> None:
    stage.guest([*devices(), *map_both()])
    stage.guest([*devices(), *map_both()[:1]])
    result = verify(stage.system)
    assert_verified(result)
    assert [(f.pages, f.checked_pages, f.guests) for f in result.files] == [(24, 16, ("LINUX01", "LINUX02"))]


def test_a_private_page_beyond_the_border_refutes_the_file(stage: Stage, tmp_path: Path) -> None:
    stage.guest([*devices(), *map_both()])
    copied = [
        order("map", at=16, page=0, pages=8, segment=1, private=True),
        order("rewrite", address=18 * PAGE_SIZE, pages=1, area="user_area"),
    ]
    stage.guest([*devices(), map_both()[0], *copied])
    result = verify(stage.system, evidence_path=tmp_path / "evidence")
    why = assert_only_false(result, ONE_FRAME, NO_COPIES)
    assert "LOWER:UPPER:/lib/both.so: 1 of 24 pages in a frame that is not CP's" in why
    (file,) = result.files
    assert not file.shared
    assert file.distinct_frames == 25


def test_a_baseline_reads_both_parts(stage: Stage) -> None:
    read_both = [order("read_into", address=0, page=LOWER_PAGES, pages=16)]
    rest = order("read_into", address=16 * PAGE_SIZE, page=0, pages=8, segment=1)
    stage.guest([order("storage", pages=64), *read_both, rest], expect="copies")
    assert "1 file (24 pages) in 1 baseline guest" in detail(verify(stage.system), BASELINES)
    stage.guest([order("storage", pages=64), *read_both], expect="copies")
    why = detail(verify(stage.system), BASELINES)
    assert "LOWER:UPPER:/lib/both.so: 8 of 24 pages not found in its memory" in why


def test_copies_of_both_parts_are_those_of_one_file(stage: Stage) -> None:
    hidden = [
        order("hide", how="private", page=LOWER_PAGES, pages=16),
        order("hide", how="private", page=0, pages=8, segment=1),
        order("hide", how="private", page=60, pages=2, segment=1),  # of no file
    ]
    stage.guest([*devices(), *map_both(), *hidden])
    why = assert_only_false(verify(stage.system), NO_COPIES)
    assert "pages of LOWER:UPPER:/lib/both.so in private memory" in why
    assert "2 pages of UPPER:file system metadata" in why
