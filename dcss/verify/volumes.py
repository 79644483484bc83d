"""File systems as the proof sees them: the segments that each lies over, one or several that adjoin, and its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from dcss.account.arrays import distinct
from dcss.account.pagemap import Pages
from dcss.verify.segment_view import SegmentFiles, SegmentView
from dcss.verify.wording import file_label


@dataclass(frozen=True, slots=True, eq=False)
class VolumeView:
    """One file system. `files` has its files by page of the whole: the pages of its segments, one after the other.

    `places` are the places of its segments among all, in the order of their addresses.
    """

    segments: tuple[SegmentView, ...]
    places: tuple[int, ...]
    files: SegmentFiles

    @classmethod
    def of(cls, segments: tuple[SegmentView, ...], places: tuple[int, ...]) -> Self:
        """Join what each segment holds of the files."""
        if len(segments) == 1:
            return cls(segments, places, segments[0].files)
        return cls(segments, places, SegmentFiles.joined([(each.files, each.pages) for each in segments]))

    @property
    def name(self) -> str:
        """The names of its segments, with a colon in between, as dcssblk names them."""
        return ":".join(segment.name for segment in self.segments)

    @property
    def pages(self) -> int:
        """Pages of all its segments."""
        return sum(segment.pages for segment in self.segments)

    @property
    def first_pages(self) -> list[int]:
        """The page of the whole at which each of its segments begins."""
        first_pages: list[int] = np.cumsum([0, *(segment.pages for segment in self.segments)])[:-1].tolist()
        return first_pages

    def segments_of(self, file: int) -> str:
        """Name the segments that hold pages of a file."""
        if len(self.segments) == 1:
            return self.name
        start = self.files.starts[file]
        pages = self.files.pages[start : start + self.files.counts[file]]
        holding: Pages = distinct(np.searchsorted(self.first_pages, pages, side="right")) - 1
        return ":".join(self.segments[number].name for number in holding.tolist())

    def label(self, file: int) -> str:
        """Return what messages call a file."""
        return file_label(self.segments_of(file), self.files.paths[file])


def volumes_of(segments: Sequence[SegmentView]) -> list[VolumeView]:
    """Return the file systems, or what may be none, on `segments`, in the order of their first segments."""
    place_of = {segment.target.shm_name: place for place, segment in enumerate(segments)}
    joined = {segment.target.joined: None for segment in segments if segment.target.joined}
    groups = [tuple(place_of[name] for name in names) for names in joined]
    groups += [(place,) for place, segment in enumerate(segments) if not segment.target.joined]
    return [VolumeView.of(tuple(segments[place] for place in group), group) for group in sorted(groups, key=min)]
