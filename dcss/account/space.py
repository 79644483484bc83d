"""The populated pages of one process, and which mapping each belongs to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from dcss.account.maps import Vma
from dcss.account.memory_map import (
    MappingGroup,
    MemoryMap,
    joined,
    parse_map,
    parse_map_only,
    parse_map_without_shared,
)
from dcss.account.pagemap import Entries, Pagemap, Pages, is_file, populated_of
from dcss.account.proc import read_proc
from dcss.account.targets import AddressRange, Object


class ObjectPages(NamedTuple):
    """Populated pages of one object's mappings: virtual page, page in the object, pagemap entry; one of each a page."""

    pages: Pages
    object_pages: Pages
    entries: Entries


@dataclass(frozen=True, slots=True, eq=False)
class ProcessPages:
    """One process's mappings, and its present or swapped pages, ascending, with their pagemap entries."""

    pid: int
    map: MemoryMap
    pages: Pages
    entries: Entries

    @classmethod
    def read(cls, pid: int, objects: frozenset[Object] | None = None) -> Self:
        """Read process `pid`, or only its mappings of `objects`. Errors as dcss.account.proc has them."""
        text = read_proc(pid, "maps")
        return cls._read(pid, parse_map(text) if objects is None else parse_map_only(text, objects))

    @classmethod
    def read_without(cls, pid: int, objects: frozenset[Object]) -> Self:
        """Read process `pid` without the pages of `objects`; private copies of such pages stay."""
        return cls._read(pid, parse_map_without_shared(read_proc(pid, "maps"), objects)).without(objects)

    @classmethod
    def _read(cls, pid: int, found: MemoryMap) -> Self:
        with Pagemap(pid) as pagemap:
            return cls(pid, found, *_read_populated(pagemap, found))

    @property
    def vmas(self) -> tuple[Vma, ...]:
        """The mappings, ascending by address."""
        return self.map.vmas

    def without(self, objects: frozenset[Object]) -> Self:
        """Return the same space without the pages of `objects`; private copies of such pages stay."""
        where = self._places(self.map.of_objects(objects))[0]
        keep = np.ones(len(self.pages), np.bool_)
        # Written copies in a private mapping of an object are no file pages any more.
        keep[where] = ~is_file(self.entries[where])
        return replace(self, pages=self.pages[keep], entries=self.entries[keep])

    def of_object(self, wanted: Object, within: AddressRange | None = None) -> ObjectPages:
        """Return the populated pages of mappings of `wanted`, in all the process or `within` a range."""
        return self.of_group(self.map.of_object(wanted, within))

    def of_group(self, group: MappingGroup) -> ObjectPages:
        """Return the populated pages of the mappings of `group`, which must be this space's own."""
        where, lengths = self._places(group)
        pages = self.pages[where]
        return ObjectPages(pages, pages + np.repeat(group.shift_pages, lengths), self.entries[where])

    def _places(self, group: MappingGroup) -> tuple[Pages, Pages]:
        """Return the places in `pages` of those that lie in `group`, and how many each mapping has."""
        firsts = np.searchsorted(self.pages, group.first_pages)
        lengths = np.searchsorted(self.pages, group.end_pages) - firsts
        return spread(firsts, lengths), lengths


def spread(firsts: Pages, lengths: Pages) -> Pages:
    """Return first, first + 1, ... for each run of (first, length), one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    places: Pages = np.arange(total) + np.repeat(firsts - (ends - lengths), lengths)
    return places


def _read_populated(pagemap: Pagemap, found: MemoryMap) -> tuple[Pages, Entries]:
    """Return the populated pages of the mappings in `found`, ascending, and their entries."""
    dense, sparse = found.ranges()
    used_runs = [run for first, count in sparse for run in _used_runs(pagemap, first, first + count)]
    runs = joined(sorted([*dense, *used_runs])) if used_runs else dense
    counts = np.array([count for _, count in runs], np.int64)
    ends = np.cumsum(counts)
    entries = np.empty(int(ends[-1]) if runs else 0, np.uint64)
    for (first, count), end in zip(runs, ends.tolist(), strict=True):
        pagemap.read_into(entries[end - count : end], first)
    used = populated_of(entries)
    # What of the run before an entry is left out of the row moves all later pages.
    shifts = np.array([first for first, _ in runs], np.int64) - (ends - counts)
    lengths = np.searchsorted(used, ends) - np.searchsorted(used, ends - counts)
    return used + np.repeat(shifts, lengths), entries[used]


def _used_runs(pagemap: Pagemap, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield the runs (first page, pages) to read of a big mapping: where it is populated, and the pages beside."""
    for first, count in pagemap.populated(low, high - low):
        # What ends in a page may go on in a zero page, which is not in the run.
        start, end = max(first - 1, low), min(first + count + 1, high)
        yield start, end - start
