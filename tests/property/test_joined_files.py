"""Files of a file system over several segments: divided among the segments and joined again, every page is there."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from segment_support import unmapped

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.account.targets import SegmentTarget
from dcss.image.files import FileExtents, ImageFiles
from dcss.system.extents import divided
from dcss.verify.segment_view import NO_FILE, SegmentFiles
from dcss.verify.volumes import volumes_of


@st.composite
def files_and_borders(draw: st.DrawFn) -> tuple[list[FileExtents], list[int]]:
    """Draw files whose runs do not overlap, and how many pages each of the segments has that they lie in."""
    sizes_pages = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    # Each page of the whole belongs to a file, or to none; pages of one file that follow one another are a run.
    owners = draw(st.lists(st.integers(-1, 3), min_size=sum(sizes_pages), max_size=sum(sizes_pages)))
    files = []
    for number in range(4):
        pages = [page for page, owner in enumerate(owners) if owner == number]
        runs: list[tuple[int, int, int]] = []
        for file_page, page in enumerate(pages):
            if runs and runs[-1][1] + runs[-1][2] == page:
                runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
            else:
                runs.append((file_page, page, 1))
        files.append(FileExtents(b"/%d" % number, 12 + number, len(pages) * PAGE_SIZE, tuple(runs)))
    return files, sizes_pages


def _targets(sizes_pages: Sequence[int]) -> list[SegmentTarget]:
    return [
        SegmentTarget(f"S{number}", SegmentType.SR, f"/s{number}", -1, 0, pages * PAGE_SIZE, None)
        for number, pages in enumerate(sizes_pages)
    ]


@given(files_and_borders())
def test_joining_takes_back_what_dividing_did(drawn: tuple[list[FileExtents], list[int]]) -> None:
    files, sizes_pages = drawn
    targets = list(divided(_targets(sizes_pages), ImageFiles(tuple(files))))
    parts = [SegmentFiles.of(target.files, pages) for target, pages in zip(targets, sizes_pages, strict=True)]
    joined = SegmentFiles.joined(list(zip(parts, sizes_pages, strict=True)))
    whole = SegmentFiles.of(files, sum(sizes_pages))
    assert set(joined.paths) == set(whole.paths)
    for path in whole.paths:
        assert _pages(joined, path) == _pages(whole, path)
    names = [*joined.paths, None]
    assert [names[owner] for owner in joined.owner] == [
        None if owner == NO_FILE else whole.paths[owner] for owner in whole.owner
    ]


def _pages(files: SegmentFiles, path: str) -> list[int]:
    file = files.paths.index(path)
    start = files.starts[file]
    return sorted(files.pages[start : start + files.counts[file]].tolist())


@given(files_and_borders())
def test_a_file_is_called_by_the_segments_that_hold_it(drawn: tuple[list[FileExtents], list[int]]) -> None:
    files, sizes_pages = drawn
    targets = list(divided(_targets(sizes_pages), ImageFiles(tuple(files))))
    views = [replace(unmapped(bytes(target.size_bytes), target.files), target=target) for target in targets]
    (volume,) = volumes_of(views)
    ends = np.cumsum(sizes_pages)
    for file in files:
        pages = [page + number for _, page, count in file.runs for number in range(count)]
        if pages:
            holding = sorted({int(np.searchsorted(ends, page, side="right")) for page in pages})
            number = volume.files.paths.index(file.path.decode())
            assert volume.segments_of(number) == ":".join(f"S{each}" for each in holding)
