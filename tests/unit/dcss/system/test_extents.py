"""Where files lie in segments: one image may lie over several, and some versions change."""

from dataclasses import replace

import pytest

from dcss.abi.extmem import SegmentType
from dcss.account.targets import SegmentTarget
from dcss.image.files import FileExtents, ImageFiles
from dcss.system.extents import _following, _parts, _standing, divided

PAGE = 4096
FIRST = SegmentTarget("A", SegmentType.SR, "/a", 1, 0, 10 * PAGE, "x", start=100 * PAGE)


def extents(path: bytes, runs: tuple[tuple[int, int, int], ...]) -> FileExtents:
    return FileExtents(path, 12, 5000, runs)


def following(name: str) -> SegmentTarget:
    return replace(FIRST, name=name, shm_name=f"/{name}", start=110 * PAGE)


def test_a_file_has_a_part_in_each_segment_that_it_lies_in() -> None:
    files = (
        extents(b"/first", ((0, 2, 3),)),
        extents(b"/over", ((0, 8, 5), (7, 20, 2))),
        extents(b"/second", ((0, 10, 1), (1, 14, 6))),
    )
    second = following("B")
    parts = list(divided((FIRST, second), ImageFiles(files, ("damaged",))))
    assert [part.files for part in parts] == [
        (extents(b"/first", ((0, 2, 3),)), extents(b"/over", ((0, 8, 2),))),
        (extents(b"/over", ((2, 0, 3),)), extents(b"/second", ((0, 0, 1), (1, 4, 6)))),
    ]
    assert [part.damage for part in parts] == [("damaged",), ()]
    assert [part.joined for part in parts] == [("/a", "/B"), ("/a", "/B")]
    assert list(_parts(files, 20, 22)) == [extents(b"/over", ((7, 0, 2),))]


def test_a_segment_alone_has_all_files_and_no_others() -> None:
    files = (extents(b"/over", ((0, 8, 5),)),)
    (alone,) = divided((FIRST,), ImageFiles(files, ()))
    assert (alone.files, alone.damage, alone.joined) == (files, (), ())


def test_an_image_goes_on_in_the_segment_that_begins_where_one_ends() -> None:
    later = replace(FIRST, name="LATER", shm_name="/later", start=111 * PAGE)
    assert _following(FIRST, (FIRST, later), set()) is None
    assert _following(FIRST, (FIRST, later, following("B")), set()) == following("B")
    assert _following(FIRST, (following("B"),), {"/B"}) is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("A", "B"), ("A.0003", "B.0004"), ("A.saved", "B.saved"), ("A.0003.saved", "B.0004.saved")],
)
def test_of_several_versions_it_goes_on_in_one_of_the_same_standing(name: str, wanted: str) -> None:
    versions = [following(each) for each in ("B.0004.saved", "B.saved", "B.0004", "B")]
    for order in (versions, versions[::-1]):
        found = _following(replace(FIRST, name=name), order, set())
        assert found is not None
        assert found.name == wanted


def test_standing_is_told_by_the_versions_name() -> None:
    names = ("A", "A.0003", "A.saved", "A.0003.saved")
    assert [_standing(replace(FIRST, name=name)) for name in names] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
