"""Search memory for segment pages: read it by runs of pages, look the anchors up, compare whole pages.

Guests are forked from one process, and differ from it in few words of most pages that they wrote. Given that process
as `Original`, only words that differ are looked up; anchors among the others are known from the original's search.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.pagemap import Flags, Pages
from dcss.verify.search.anchors import ALIGNMENTS, ANCHOR_BYTES, PROBED_ALIGNMENTS, Anchors, keys_of
from dcss.verify.search.page_contents import Contents, Words, windows
from dcss.verify.segment_content import Bytes

_BUFFER_PAGES = 2048
_WORDS_PER_PAGE = PAGE_SIZE // 8
_COMPARED_PAGES = 256


Reader = Callable[[int, Bytes], int]  # fills bytes from a page number on, returns how many; fewer where it may not read


class Hits(NamedTuple):
    """Whole segment pages found: byte address (or offset in an object) where each begins, and its content."""

    addresses: Pages
    contents: Pages

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the hits of all `parts`, each once, ascending by address."""
        none = np.zeros(0, np.int64)
        addresses = np.concatenate([none, *(part.addresses for part in parts)])
        contents = np.concatenate([none, *(part.contents for part in parts)])
        order = np.lexsort((contents, addresses))
        addresses, contents = addresses[order], contents[order]
        # Pieces of a search overlap by a page.
        repeated = np.zeros(len(order), np.bool_)
        repeated[1:] = (np.diff(addresses) == 0) & (np.diff(contents) == 0)
        return cls(addresses[~repeated], contents[~repeated])


class AnchorSites(NamedTuple):
    """Where words of memory are an anchor, whether or not the page around them is a segment's: address and anchor."""

    addresses: Pages
    anchors: Pages

    @classmethod
    def joined(cls, parts: Sequence[tuple[Pages, Pages]]) -> Self:
        """Return the sites of all `parts`."""
        none = np.zeros(0, np.int64)
        addresses = np.concatenate([none, *(part[0] for part in parts)])
        return cls(addresses, np.concatenate([none, *(part[1] for part in parts)]))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What one search saw: the hits, and the pages that could not be read."""

    hits: Hits
    unreadable: Pages


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """Memory from which other memory was forked: ascending pages, their bytes, and the anchors in them."""

    pages: Pages
    content: Bytes
    sites: AnchorSites

    def runs_in(self, pages: Pages, wanted: Flags) -> Iterator[tuple[slice, Bytes]]:
        """Yield where in `pages` runs of `wanted` pages lie that this memory has, and what it holds there."""
        places = np.flatnonzero(wanted & _among(self.pages, pages))
        own = np.searchsorted(self.pages, pages[places])
        for here, there, count in _parallel_runs(places, own):
            yield slice(here, here + count), self.content[there : there + count]


class _Piece(NamedTuple):
    """Pages in the buffer; `numbers` makes pages that could not be read neighbours of nothing."""

    pages: Pages
    numbers: Pages


class Searcher:
    """Looks for `contents` in any memory that can be read by pages."""

    def __init__(self, contents: Contents, anchors: Anchors | None = None) -> None:
        self.contents = contents
        self._anchors = Anchors.of(contents) if anchors is None else anchors
        # One word more than the pages: the last word of all has a neighbour, too.
        self._words = np.zeros(_BUFFER_PAGES * _WORDS_PER_PAGE + 1, np.uint64)
        self._bytes = self._words.view(np.uint8)

    def search(
        self, read: Reader, pages: Pages, original: Original | None = None, unchanged: Flags | None = None
    ) -> Found:
        """Search the ascending `pages`; a copy may lie across any of them that are neighbours.

        The pages in `unchanged` are known to be as in `original`, and not read.
        """
        hits: list[Hits] = []
        unreadable = [np.zeros(0, np.int64)]
        for piece in self._pieces(read, pages, original, unchanged):
            unreadable.append(piece.pages[piece.numbers < 0])
            hits += [self._whole_pages(piece, *sites) for sites in self._look_up(piece, original)]
        return Found(Hits.joined(hits), np.unique(np.concatenate(unreadable)))

    def search_original(self, read: Reader, pages: Pages, remembered_pages: int) -> tuple[Found, Original]:
        """Search `pages` as `search` does, and remember up to so many of them for searches of what is forked."""
        content = np.empty((min(len(pages), remembered_pages), PAGE_SIZE), np.uint8)
        hits: list[Hits] = []
        unreadable = [np.zeros(0, np.int64)]
        sites: list[tuple[Pages, Pages]] = []
        for index, piece in enumerate(self._pieces(read, pages)):
            unreadable.append(piece.pages[piece.numbers < 0])
            rows = content[index * (_BUFFER_PAGES - 1) :][: len(piece.pages)]
            rows[:] = self._bytes[: len(rows) * PAGE_SIZE].reshape(-1, PAGE_SIZE)
            for words, anchors in self._look_up(piece, None):
                hits.append(self._whole_pages(piece, words, anchors))
                addresses = (piece.pages[words // _WORDS_PER_PAGE] << PAGE_SHIFT) + words % _WORDS_PER_PAGE * 8
                sites.append((addresses, anchors))
        found = Found(Hits.joined(hits), np.unique(np.concatenate(unreadable)))
        remembered = pages[: len(content)]
        readable = ~np.isin(remembered, found.unreadable)
        return found, Original(remembered[readable], content[readable], AnchorSites.joined(sites))

    def _pieces(
        self, read: Reader, pages: Pages, original: Original | None = None, unchanged: Flags | None = None
    ) -> Iterator[_Piece]:
        """Bring `pages` into the buffer, as many at a time as it holds.

        Each piece begins with the last page of the one before, on which a copy may begin.
        """
        for start in range(0, max(1, len(pages) - 1), _BUFFER_PAGES - 1):
            some = pages[start : start + _BUFFER_PAGES]
            to_read = np.ones(len(some), np.bool_)
            if original is not None and unchanged is not None:
                rows = self._bytes[: len(some) * PAGE_SIZE].reshape(-1, PAGE_SIZE)
                for places, content in original.runs_in(some, unchanged[start : start + _BUFFER_PAGES]):
                    rows[places] = content
                    to_read[places] = False
            numbers = some.copy()
            unreadable = np.array(self._fill(read, some, np.flatnonzero(to_read)), np.int64)
            numbers[unreadable] = -2 - 2 * unreadable
            yield _Piece(some, numbers)

    def _fill(self, read: Reader, pages: Pages, places: Pages) -> list[int]:
        """Read the pages at some `places` run by run; zero those that cannot be read, and return their places."""
        unreadable: list[int] = []
        for place, first, count in _parallel_runs(places, pages[places]):
            done = 0
            while done < count:
                view = self._bytes[(place + done) * PAGE_SIZE : (place + count) * PAGE_SIZE]
                done += read(first + done, view) >> PAGE_SHIFT
                if done < count:
                    self._bytes[(place + done) * PAGE_SIZE :][:PAGE_SIZE] = 0
                    unreadable.append(place + done)
                    done += 1
        return unreadable

    def _look_up(self, piece: _Piece, original: Original | None) -> Iterator[tuple[Pages, Pages]]:
        words = self._words[: len(piece.pages) * _WORDS_PER_PAGE + 1]
        if original is None:
            yield from self._anchors.look_up(words)
            return
        changed = self._changed(words, piece.pages, original)
        yield from self._anchors.look_up_at(words, np.flatnonzero(changed))
        # The original's anchors are this memory's as well, where neither of their words has changed.
        sites = original.sites
        inside = np.flatnonzero(_among(piece.pages, sites.addresses >> PAGE_SHIFT))
        addresses = sites.addresses[inside]
        places = np.searchsorted(piece.pages, addresses >> PAGE_SHIFT) * _WORDS_PER_PAGE
        places += (addresses & (PAGE_SIZE - 1)) >> 3
        same = ~changed[places]
        yield places[same], sites.anchors[inside[same]]

    def _changed(self, words: Words, pages: Pages, original: Original) -> Flags:
        """Say which pairs of neighbouring words are not as in `original`."""
        differs = np.ones(len(words), np.bool_)
        rows = differs[:-1].reshape(-1, _WORDS_PER_PAGE)
        now = words[:-1].reshape(-1, _WORDS_PER_PAGE)
        for places, content in original.runs_in(pages, np.ones(len(pages), np.bool_)):
            np.not_equal(now[places], content.view(np.uint64), out=rows[places])
        pairs: Flags = differs[:-1] | differs[1:]
        return pairs

    def _whole_pages(self, piece: _Piece, words: Pages, anchors: Pages) -> Hits:
        """Return the segment pages that lie whole around some of their anchors."""
        used = len(piece.pages) * PAGE_SIZE
        starts = words * ALIGNMENTS - self._anchors.offset[anchors]
        inside = (starts >= 0) & (starts <= used - PAGE_SIZE)
        starts, content = starts[inside], self._anchors.content[anchors[inside]]
        first, last = starts >> PAGE_SHIFT, (starts + PAGE_SIZE - 1) >> PAGE_SHIFT
        # Neighbours in the buffer need not be neighbours in memory.
        together = piece.numbers[last] - piece.numbers[first] == last - first
        starts, content = starts[together], content[together]
        same = self._same(starts, content)
        starts, content = starts[same], content[same]
        return Hits((piece.pages[starts >> PAGE_SHIFT] << PAGE_SHIFT) + (starts & (PAGE_SIZE - 1)), content)

    def _same(self, starts: Pages, content: Pages) -> Pages:
        """Return which of the candidates are whole copies: a few distinctive pieces first, then all bytes."""
        left = np.arange(len(starts))
        pieces = windows(self._bytes, ANCHOR_BYTES)
        # Pieces that chance has in common with a page are many, so these come before whole pages.
        for probe, alignment in enumerate(PROBED_ALIGNMENTS):
            places = starts[left] + self._anchors.offsets[content[left], alignment]
            left = left[keys_of(pieces[places]) == self._anchors.probes[content[left], probe]]
        whole = windows(self._bytes, PAGE_SIZE)
        equal = [
            _equal(whole[starts[batch]], self.contents.rows(content[batch]))
            for batch in (left[i : i + _COMPARED_PAGES] for i in range(0, len(left), _COMPARED_PAGES))
        ]
        return left[np.concatenate(equal)] if equal else left


def _parallel_runs(one: Pages, other: Pages) -> Iterator[tuple[int, int, int]]:
    """Yield the first of each and the count, for runs in which both rise by one from place to place."""
    if not len(one):
        return
    breaks = np.flatnonzero((np.diff(one) != 1) | (np.diff(other) != 1)) + 1
    firsts = np.concatenate(([0], breaks))
    counts = np.diff(np.concatenate((firsts, [len(one)])))
    yield from zip(one[firsts].tolist(), other[firsts].tolist(), counts.tolist(), strict=True)


def _among(ascending: Pages, wanted: Pages) -> Flags:
    if not len(ascending):
        return np.zeros(len(wanted), np.bool_)
    places = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    found: Flags = ascending[places] == wanted
    return found


def _equal(found: Bytes, wanted: Bytes) -> Flags:
    equal: Flags = (found == wanted).all(axis=1)
    return equal
