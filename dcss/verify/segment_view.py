"""A published segment as the proof sees it: its content, its files by page, and CP's frames."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.account.pagemap import Entries, Flags, Pages
from dcss.account.space import ProcessPages, spread
from dcss.account.targets import AddressRange, FileRuns, Object, SegmentTarget
from dcss.host.populate import populate
from dcss.verify import wording
from dcss.verify.segment_content import SegmentContent

NO_FILE = -1


@dataclass(frozen=True, slots=True, eq=False)
class SegmentFiles:
    """The segment pages of files that have any, file after file.

    `pages` holds them in one row, `starts` where each file begins in it, `counts` how many each has; `owner` says for
    each page of the segment which file holds it (the last one, should several), or NO_FILE. `damage` says for each file
    why not all of its pages are known, if so.
    """

    paths: tuple[str, ...]
    damage: tuple[str, ...]
    pages: Pages
    starts: Pages
    counts: Pages
    owner: Pages

    @classmethod
    def of(cls, files: Sequence[FileRuns], segment_pages: int) -> Self:
        """Lay out `files`. Raises ValueError for a run that lies outside the segment."""
        kept = [file for file in files if file.runs]
        runs = [(index, page, count) for index, file in enumerate(kept) for _, page, count in file.runs]
        for index, page, count in runs:
            if not 0 <= page < page + count <= segment_pages:
                path = os.fsdecode(kept[index].path)
                found = f"pages {page} to {page + count - 1}"
                raise ValueError(f"file {path}: found {found}, wanted pages of a segment of {segment_pages}")
        owners, firsts, lengths = np.array(runs, np.int64).reshape(-1, 3).T
        pages = spread(firsts, lengths)
        counts = np.bincount(owners, weights=lengths, minlength=len(kept)).astype(np.int64)
        owner = np.full(segment_pages, NO_FILE)
        # Hard links are one inode and one entry; should runs overlap, the last file has the page.
        owner[pages] = np.repeat(owners, lengths)
        paths = tuple(os.fsdecode(file.path) for file in kept)
        damage = tuple(file.damage for file in kept)
        return cls(paths, damage, pages, np.cumsum(counts) - counts, counts, owner)

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, int]]) -> Self:
        """Lay out the files of a file system that lies over several segments.

        `parts` has, in the order of their addresses, what each segment holds of the files and how many pages it has. A
        file is known by its path in all of them.
        """
        file_of: dict[str, int] = {}
        numbers = [
            np.array([file_of.setdefault(path, len(file_of)) for path in part.paths], np.int64) for part, _ in parts
        ]
        first_pages = np.cumsum([0, *(segment_pages for _, segment_pages in parts)])
        none = np.zeros(0, np.int64)
        owners = np.concatenate(
            [none, *(each.repeat(part.counts) for each, (part, _) in zip(numbers, parts, strict=True))]
        )
        pages = np.concatenate(
            [none, *(part.pages + first for (part, _), first in zip(parts, first_pages[:-1], strict=True))]
        )
        order = np.argsort(owners, kind="stable")
        counts = np.bincount(owners, minlength=len(file_of))
        owner = np.full(int(first_pages[-1]), NO_FILE)
        owner[pages] = owners
        damage = {path: why for part, _ in parts for path, why in zip(part.paths, part.damage, strict=True)}
        return cls(tuple(file_of), tuple(damage.values()), pages[order], np.cumsum(counts) - counts, counts, owner)

    def count(self, wanted: Flags) -> Pages:
        """Return for each file how many of its pages are `wanted`, given for each page of the segment."""
        if not len(self.paths):
            return np.zeros(0, np.int64)
        counts: Pages = np.add.reduceat(wanted[self.pages], self.starts, dtype=np.int64)
        return counts


@dataclass(frozen=True, slots=True, eq=False)
class SegmentView:
    """One segment, and the files of its image."""

    target: SegmentTarget
    object: Object
    content: SegmentContent
    files: SegmentFiles

    @classmethod
    def of(cls, target: SegmentTarget) -> Self:
        """Look at `target`, whose address must be mapped in this very process."""
        pages = target.pages
        content = SegmentContent(target.descriptor, pages)
        return cls(target, target.object, content, SegmentFiles.of(target.files, pages))

    @property
    def name(self) -> str:
        """The segment's name."""
        return self.target.name

    @property
    def pages(self) -> int:
        """Pages of the segment."""
        return len(self.content)

    @property
    def own_pages(self) -> Flags:
        """Which pages a file system in it keeps for itself."""
        own: Flags = np.zeros(self.pages, np.bool_)
        for first_page, pages in self.target.own_runs:
            own[first_page : first_page + pages] = True
        return own

    def populate(self) -> None:
        """Make every page present in CP's mapping that the object still has."""
        populate(self.target.address, self.target.size_bytes)

    def why_cut_short(self) -> str | None:
        """Say by how much the object is shorter than the segment, or None if it is not: some user truncated it."""
        size_bytes = self.content.size_bytes()
        if size_bytes >= self.target.size_bytes:
            return None
        lost = wording.count(self.pages - (size_bytes >> PAGE_SHIFT), "page")
        return (
            f"segment {self.name}: object {self.target.shm_name} was cut short: found {size_bytes:,} bytes, wanted"
            f" {self.target.size_bytes:,}; {lost} lost, and a guest that touches one ends by SIGBUS"
        )

    def cp_entries(self, cp: ProcessPages) -> Entries:
        """Return the pagemap entry of each page in CP's own mapping; 0 where that does not hold the page."""
        address = self.target.address
        found = cp.of_object(self.object, AddressRange(address, address + (self.pages << PAGE_SHIFT)))
        entries = np.zeros(self.pages, np.uint64)
        # A second mapping inside that range would shift the pages.
        straight = found.object_pages == found.pages - (address >> PAGE_SHIFT)
        entries[found.object_pages[straight]] = found.entries[straight]
        return entries


def lost_contents(segments: Sequence[SegmentView]) -> list[str]:
    """Say which segments have lost pages, that can be looked for no more."""
    return [reason for segment in segments if (reason := segment.why_cut_short())]
