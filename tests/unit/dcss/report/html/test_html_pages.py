"""An evidence file says of each page who uses it, and whether the kernel counts the same."""

from pathlib import Path
from typing import Any

import pytest
from report_support import FIRST_FRAME, WINDOW, evidence_records, mapping, write_evidence

from dcss.errors import ConfigError
from dcss.report.html.pages import SegmentPages, read_evidence

PAGES = 1100


def frames(first: int, last: int) -> list[int]:
    return list(range(FIRST_FRAME + first, FIRST_FRAME + last))


def segment_of(tmp_path: Path, guests: dict[str, Any], name: str = "e.json.gz") -> SegmentPages:
    path = write_evidence(tmp_path / name, evidence_records(guests, PAGES))
    return read_evidence(path).segments[0]


@pytest.mark.parametrize("name", ["e.json", "e.json.gz", "odd.name"])
def test_pages_that_a_guest_uses_are_those_of_its_user_area(tmp_path: Path, name: str) -> None:
    in_window = mapping(0, frames(0, 50), address=WINDOW)
    segment = segment_of(tmp_path, {"A": [[mapping(100, frames(100, 300)), in_window]], "B": [[in_window]]}, name)
    assert segment.used_by["A"].nonzero()[0].tolist() == list(range(100, 300))
    assert not segment.used_by["B"].any()


def test_a_segment_that_is_loaded_privately_is_used_in_the_window(tmp_path: Path) -> None:
    loaded = mapping(0, frames(0, 50), address=WINDOW, permissions="rw-p")
    assert segment_of(tmp_path, {"A": [[loaded]]}).used_by["A"].sum() == 50


def test_processes_of_a_guest_are_added_up(tmp_path: Path) -> None:
    one, two = [mapping(100, frames(100, 200))], [mapping(150, frames(150, 250))]
    segment = segment_of(tmp_path, {"A": [one, two], "B": [one]})
    assert segment.used_by["A"].sum() == 150
    assert segment.entries[[99, 100, 150, 249]].tolist() == [1, 3, 4, 2]
    assert segment.map_counts is not None
    assert segment.entries.tolist() == segment.map_counts.tolist()


def test_a_page_in_another_frame_is_counted(tmp_path: Path) -> None:
    wrong = frames(100, 200)
    wrong[7] = 5
    segment = segment_of(tmp_path, {"A": [[mapping(100, wrong)]]})
    assert (segment.compared, segment.differing) == (100, 1)


def test_huge_pages_fit_where_the_address_is_right_and_all_is_mapped(tmp_path: Path) -> None:
    whole, part = mapping(0, frames(0, PAGES)), mapping(0, frames(0, 600))
    shifted = mapping(0, frames(0, PAGES), address=mapping(1, [])["address"])
    segment = segment_of(tmp_path, {"A": [[whole]], "B": [[part]], "C": [[shifted]]})
    assert segment.huge_mappings.tolist() == [2, 1]
    assert segment.in_huge_frame.tolist() == [True, True]  # FIRST_FRAME is a multiple of 512


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found no verdict at the end"),
        (b'{"record": "system", "system": "demo", "evidence": "frames"}\n', "found no verdict at the end"),
        (b"{}\n", "line 1"),
        (b"\x1f\x8bnothing", "line 1"),
        (b'{"record": "mappings", "pid": 1, "role": "A", "segment": "X", "mappings": []}\n', "line 1"),
    ],
)
def test_what_is_no_evidence_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "e").write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        read_evidence(tmp_path / "e")
    assert said in str(raised.value)


def test_evidence_that_was_cut_short_is_named(tmp_path: Path) -> None:
    path = write_evidence(tmp_path / "e.gz", evidence_records({"A": [[mapping(0, frames(0, 1))]]}, PAGES))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ConfigError, match="wanted a record"):
        read_evidence(path)
