"""The memory that was searched last, kept to be compared with what is searched next.

Guests are forked from one process and do much the same: few pages of one differ from those of the guest before it.
Where a page holds the same bytes at the same address, what was found there counts again, and it need not be searched.
"""

from typing import NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.arrays import distinct
from dcss.account.pagemap import Entries, Flags, Pages
from dcss.verify.search.searcher import Found, Hits, Reader, Searcher, read_pages

_KEPT_PAGES = 1 << 14
_BATCH_PAGES = 128  # what is read is compared while it is in the CPU's cache
_GAP_PAGES = 2  # to read and compare so many pages in vain costs less than another call
_WORDS = np.uint64


class _Kept(NamedTuple):
    """Ascending pages, for each the frame that still holds what was read from it (or 0) and its row, and the hits."""

    pages: Pages
    frames: Entries
    rows: Pages
    hits: Hits


class LastSearched:
    """The first pages of the process that was searched last, and what was found in them."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._content = np.empty((_KEPT_PAGES, PAGE_SIZE), np.uint8)  # takes memory only where it is written
        # What one batch reads, what was there before, and which of its words differ.
        self._new = np.empty((_BATCH_PAGES, PAGE_SIZE), np.uint8)
        self._old = np.empty_like(self._new)
        self._differs = np.empty((_BATCH_PAGES, PAGE_SIZE // _WORDS().itemsize), np.bool_)
        self._kept = _nothing()

    @property
    def pages(self) -> Pages:
        """The pages that are kept."""
        return self._kept.pages

    @property
    def frames(self) -> Entries:
        """The frame of each page, or 0 where it may have been written since."""
        return self._kept.frames

    @frames.setter
    def frames(self, frames: Entries) -> None:
        self._kept = self._kept._replace(frames=frames)

    def search(self, read: Reader, pages: Pages, frames: Entries) -> Found:
        """Search all `pages` of another process, and keep the first of them.

        `frames` has the frame of each page, or 0 where that is not known or the process will run on. A page that is
        kept and has the frame that it had is not read.
        """
        found = self._search_first(read, pages[:_KEPT_PAGES], frames[:_KEPT_PAGES])
        if len(pages) <= _KEPT_PAGES:
            return found
        # A copy may begin on the last page that is kept.
        rest = self._searcher.search(read, pages[_KEPT_PAGES - 1 :])
        return Found(
            Hits.joined([found.hits, rest.hits]), distinct(np.concatenate([found.unreadable, rest.unreadable]))
        )

    def _search_first(self, read: Reader, pages: Pages, frames: Entries) -> Found:
        # Nothing is kept if reading fails half-way: the rows are overwritten by then.
        before, self._kept = self._kept, _nothing()
        held, places = find(before.pages, pages)
        rows = _rows_for(before, held, places)
        same_frame = held & (frames != 0)
        same_frame[held] &= before.frames[places[held]] == frames[held]
        changed, unreadable = self._read(read, pages, rows, _without_gaps(pages, ~same_frame))
        changed |= ~held
        readable = ~unreadable
        pages_kept, rows, changed = pages[readable], rows[readable], changed[readable]
        wanted = with_neighbours(pages_kept, changed)
        hits = Hits.joined(
            [
                _unchanged(before.hits, pages_kept[~changed]),
                self._searcher.search_rows(self._content, rows[wanted], pages_kept[wanted]),
            ]
        )
        self._kept = _Kept(pages_kept, frames[readable], rows, hits)
        return Found(hits, pages[unreadable])

    def _read(self, read: Reader, pages: Pages, rows: Pages, wanted: Flags) -> tuple[Flags, Flags]:
        """Read the `wanted` pages into their rows; return which of all differ from what was there, and which failed."""
        changed, unreadable = np.zeros(len(pages), np.bool_), np.zeros(len(pages), np.bool_)
        places = np.flatnonzero(wanted)
        for start in range(0, len(places), _BATCH_PAGES):
            some = places[start : start + _BATCH_PAGES]
            new, old, differs = self._new[: len(some)], self._old[: len(some)], self._differs[: len(some)]
            unreadable[some[read_pages(read, pages[some], new)]] = True
            np.take(self._content, rows[some], axis=0, out=old, mode="clip")
            np.not_equal(new.view(_WORDS), old.view(_WORDS), out=differs)
            other = differs.any(axis=1)
            changed[some] = other
            self._content[rows[some[other]]] = new[other]
        return changed, unreadable


def find(ascending: Pages, wanted: Pages) -> tuple[Flags, Pages]:
    """Say which of `wanted` are in `ascending`, and at which places."""
    if not len(ascending):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.int64)
    places = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    found: Flags = ascending[places] == wanted
    return found, places


def with_neighbours(pages: Pages, chosen: Flags) -> Flags:
    """Add the neighbours of chosen pages: a copy may begin or end on a page that itself need not be searched."""
    wide = chosen.copy()
    # Pages apart are no neighbours, whatever their place in the array.
    adjacent = np.diff(pages) == 1
    wide[1:] |= chosen[:-1] & adjacent
    wide[:-1] |= chosen[1:] & adjacent
    return wide


def _nothing() -> _Kept:
    none = np.zeros(0, np.int64)
    return _Kept(none, np.zeros(0, np.uint64), none, Hits(none, none))


def _rows_for(before: _Kept, held: Flags, places: Pages) -> Pages:
    """Give pages that are held the rows that they have, and the others rows that none of these has."""
    if held.all():
        return before.rows[places]
    rows = np.empty(len(held), np.int64)
    rows[held] = before.rows[places[held]]
    free = np.ones(_KEPT_PAGES, np.bool_)
    free[rows[held]] = False
    rows[~held] = np.flatnonzero(free)[: np.count_nonzero(~held)]
    return rows


def _without_gaps(pages: Pages, wanted: Flags) -> Flags:
    """Add the pages between wanted ones where they are few."""
    places = np.flatnonzero(wanted)
    distances = np.diff(places)
    joined = np.flatnonzero((distances <= _GAP_PAGES + 1) & (np.diff(pages[places]) == distances))
    # Up at a wanted page, down at the next one: between the two of them the sum is not zero.
    steps = np.zeros(len(pages), np.int64)
    steps[places[joined]] += 1
    steps[places[joined + 1]] -= 1
    closed: Flags = wanted | (np.cumsum(steps) > 0)
    return closed


def _unchanged(hits: Hits, pages: Pages) -> Hits:
    """Return the hits that lie in unchanged `pages` with their first and their last byte."""
    whole = np.ones(len(hits.addresses), np.bool_)
    for addresses in (hits.addresses, hits.addresses + PAGE_SIZE - 1):
        whole &= find(pages, addresses >> PAGE_SHIFT)[0]
    return Hits(hits.addresses[whole], hits.contents[whole])
