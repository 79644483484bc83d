"""Search memory for segment pages: read it by runs of pages, look the anchors up, compare whole pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.pagemap import Flags, Pages, runs_of
from dcss.verify.search.anchors import ALIGNMENTS, Anchors
from dcss.verify.search.page_contents import Contents, windows
from dcss.verify.segment_view import Bytes

_BUFFER_PAGES = 2048
_WORDS_PER_PAGE = PAGE_SIZE // 8
_COMPARED_PAGES = 256
_PROBED_ALIGNMENTS = (1, 4, 7)
_PROBE_BYTES = 8

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


class Searcher:
    """Looks for `contents` in any memory that can be read by pages."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self._anchors = Anchors.of(contents)
        # One word more than the pages: the last word of all has a neighbour, too.
        self._words = np.zeros(_BUFFER_PAGES * _WORDS_PER_PAGE + 1, np.uint64)
        self._bytes = self._words.view(np.uint8)

    def search(self, read: Reader, pages: Pages) -> Found:
        """Search the ascending `pages`; a copy may lie across any of them that are neighbours."""
        hits: list[Hits] = []
        unreadable: list[int] = []
        # Each piece begins with the last page of the one before, on which a copy may begin.
        for start in range(0, max(1, len(pages) - 1), _BUFFER_PAGES - 1):
            piece = pages[start : start + _BUFFER_PAGES].copy()
            unreadable += self._fill(read, piece)
            hits.append(self._search_buffer(piece))
        return Found(Hits.joined(hits), np.unique(np.array(unreadable, np.int64)))

    def _fill(self, read: Reader, piece: Pages) -> list[int]:
        """Read `piece` into the buffer; number the pages that cannot be read so that they neighbour nothing."""
        unreadable: list[int] = []
        place = 0
        for first, count in runs_of(piece):
            done = 0
            while done < count:
                view = self._bytes[(place + done) * PAGE_SIZE : (place + count) * PAGE_SIZE]
                done += read(first + done, view) >> PAGE_SHIFT
                if done < count:
                    self._bytes[(place + done) * PAGE_SIZE :][:PAGE_SIZE] = 0
                    unreadable.append(first + done)
                    piece[place + done] = -2 - 2 * (place + done)
                    done += 1
            place += count
        return unreadable

    def _search_buffer(self, piece: Pages) -> Hits:
        used = len(piece) * PAGE_SIZE
        words = self._words[: len(piece) * _WORDS_PER_PAGE + 1]
        hits: list[Hits] = []
        for places, anchors in self._anchors.look_up(words):
            starts = places * ALIGNMENTS - self._anchors.offset[anchors]
            inside = (starts >= 0) & (starts <= used - PAGE_SIZE)
            starts, content = starts[inside], self._anchors.content[anchors[inside]]
            first, last = starts >> PAGE_SHIFT, (starts + PAGE_SIZE - 1) >> PAGE_SHIFT
            # Neighbours in the buffer need not be neighbours in memory.
            together = piece[last] - piece[first] == last - first
            starts, content = starts[together], content[together]
            same = self._same(starts, content)
            starts, content = starts[same], content[same]
            addresses = (piece[starts >> PAGE_SHIFT] << PAGE_SHIFT) + (starts & (PAGE_SIZE - 1))
            hits.append(Hits(addresses, content))
        return Hits.joined(hits)

    def _same(self, starts: Pages, content: Pages) -> Pages:
        """Return which of the candidates are whole copies: a few distinctive pieces first, then all bytes."""
        left = np.arange(len(starts))
        pieces = windows(self._bytes, _PROBE_BYTES)
        # Pieces that chance has in common with a page are many, so these come before whole pages.
        for alignment in _PROBED_ALIGNMENTS:
            offsets = self._anchors.offsets[content[left], alignment]
            wanted = self.contents.bytes_at(content[left], offsets, _PROBE_BYTES)
            left = left[_equal(pieces[starts[left] + offsets], wanted)]
        whole = windows(self._bytes, PAGE_SIZE)
        equal = [
            _equal(whole[starts[batch]], self.contents.bytes_at(content[batch], 0, PAGE_SIZE))
            for batch in (left[i : i + _COMPARED_PAGES] for i in range(0, len(left), _COMPARED_PAGES))
        ]
        return left[np.concatenate(equal)] if equal else left


def _equal(found: Bytes, wanted: Bytes) -> Flags:
    equal: Flags = (found == wanted).all(axis=1)
    return equal
