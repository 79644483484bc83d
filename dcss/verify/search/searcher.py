"""Search memory for segment pages: look the anchors up in it, and compare whole pages around those that are found."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.arrays import distinct
from dcss.account.pagemap import Flags, Pages, runs_of
from dcss.verify.search.anchors import ALIGNMENTS, ANCHOR_BYTES, PROBED_ALIGNMENTS, Anchors, Scratch, keys_of
from dcss.verify.search.page_contents import Contents, windows
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


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What one search saw: the hits, and the pages that could not be read."""

    hits: Hits
    unreadable: Pages


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
        self._rows = self._bytes[: _BUFFER_PAGES * PAGE_SIZE].reshape(-1, PAGE_SIZE)
        # Every piece of these bytes as long as an anchor, and as a page.
        self._pieces, self._whole = windows(self._bytes, ANCHOR_BYTES), windows(self._bytes, PAGE_SIZE)
        self._scratch = Scratch.new()

    def search(self, read: Reader, pages: Pages) -> Found:
        """Search the ascending `pages`; a copy may lie across any of them that are neighbours."""
        hits: list[Hits] = []
        unreadable = [np.zeros(0, np.int64)]
        for some in _pieces(pages):
            lost = read_pages(read, some, self._rows[: len(some)])
            unreadable.append(some[lost])
            numbers = some.copy()
            numbers[lost] = -2 - 2 * lost
            hits += self._in_buffer(_Piece(some, numbers))
        return Found(Hits.joined(hits), distinct(np.concatenate(unreadable)))

    def search_rows(self, content: Bytes, rows: Pages, pages: Pages) -> Hits:
        """Search ascending `pages` of which the bytes are some `rows` of `content`."""
        hits: list[Hits] = []
        for some, where in zip(_pieces(pages), _pieces(rows), strict=True):
            np.take(content, where, axis=0, out=self._rows[: len(where)], mode="clip")
            hits += self._in_buffer(_Piece(some, some))
        return Hits.joined(hits)

    def _in_buffer(self, piece: _Piece) -> Iterator[Hits]:
        words = self._words[: len(piece.pages) * _WORDS_PER_PAGE + 1]
        for places, anchors in self._anchors.look_up(words, self._scratch):
            yield self._whole_pages(piece, places, anchors)

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
        # Pieces that chance has in common with a page are many, so these come before whole pages.
        for probe, alignment in enumerate(PROBED_ALIGNMENTS):
            places = starts[left] + self._anchors.offsets[content[left], alignment]
            left = left[keys_of(self._pieces[places]) == self._anchors.probes[content[left], probe]]
        equal = [
            self._equal(starts[batch], content[batch])
            for batch in (left[i : i + _COMPARED_PAGES] for i in range(0, len(left), _COMPARED_PAGES))
        ]
        return left[np.concatenate(equal)] if equal else left

    def _equal(self, starts: Pages, content: Pages) -> Flags:
        """Say which of the candidates have all bytes of a content."""
        # Most candidates are of a few pages that have much in common with all memory: each is read once.
        wanted, which = np.unique(content, return_inverse=True)
        equal: Flags = (self._whole[starts] == self.contents.rows(wanted)[which]).all(axis=1)
        return equal


def read_pages(read: Reader, pages: Pages, rows: Bytes) -> Pages:
    """Read ascending `pages` into as many `rows`, by runs; zero those that cannot be read, and return their places."""
    unreadable: list[int] = []
    data = rows.reshape(-1)
    place = 0
    for first, count in runs_of(pages):
        done = 0
        while done < count:
            done += read(first + done, data[(place + done) * PAGE_SIZE : (place + count) * PAGE_SIZE]) >> PAGE_SHIFT
            if done < count:
                rows[place + done] = 0
                unreadable.append(place + done)
                done += 1
        place += count
    return np.array(unreadable, np.int64)


def _pieces(pages: Pages) -> Iterator[Pages]:
    """Split `pages` by what the buffer holds; each piece begins with the last page of the one before it.

    On that page a copy may begin.
    """
    for start in range(0, max(1, len(pages) - 1), _BUFFER_PAGES - 1):
        yield pages[start : start + _BUFFER_PAGES]
