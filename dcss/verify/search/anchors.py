"""Where to look for the segments' pages in foreign memory, at any byte offset, by looking at aligned words only.

Each page has eight anchors: 16-byte pieces of it, one at an offset of each remainder modulo 8. Wherever in memory a
copy begins, exactly one of them lies on a multiple of 8 there, so pairs of neighbouring aligned words are all that a
search has to look up. A piece that is rare in the segments is chosen, so that few look-ups succeed in vain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Flags, Pages
from dcss.account.space import spread
from dcss.verify.search.page_contents import Contents, Words
from dcss.verify.segment_content import Bytes

ALIGNMENTS = 8
ANCHOR_BYTES = 16
PROBED_ALIGNMENTS = (1, 4, 7)
_SPOTS = slice(64, PAGE_SIZE - 64, 248)  # 16 places of a page, tried before all are
_SPOT_OFFSETS = np.arange(PAGE_SIZE)[_SPOTS]
_RARE = 8
_HALF_ZERO_SCORE = 1 << 10
_REPEATED_SCORE = 1 << 20
_FREQUENT = 255
_BATCH_PAGES = 512
_PART_PAGES = 1 << 15
_LOW_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_HIGH_FACTOR = np.uint64(0xC2B2AE3D27D4EB4F)
_MATCHES_AT_ONCE = 1 << 15
_LOOKED_UP_WORDS = 1 << 17  # a piece of this size and its scratch stay in the CPU's cache

Scores = npt.NDArray[np.int32]


class Scratch(NamedTuple):
    """What a search computes for some words: their keys, the products that these are sums of, and which are hits."""

    keys: Words
    products: Words
    hits: Flags

    @classmethod
    def new(cls) -> Self:
        """Return scratch; memory is taken where it is used."""
        keys, products = (np.empty(_LOOKED_UP_WORDS, np.uint64) for _ in range(2))
        return cls(keys, products, np.empty(_LOOKED_UP_WORDS, np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """Anchors of all contents: ascending `keys` of 64 bits, and for each its content and its offset in the page.

    `offsets` has the eight offsets of each content, `probes` the keys of those of `PROBED_ALIGNMENTS`; `coarse` and
    `fine` say which bits of a key occur at all.
    """

    keys: Words
    content: Pages
    offset: Pages
    offsets: Pages
    probes: Words
    coarse: Flags
    fine: Flags

    @classmethod
    def of(cls, contents: Contents) -> Self:
        """Choose the anchors of `contents`."""
        parts = [_choose(contents, part) for part in _batches(len(contents), _PART_PAGES)]
        offsets = np.concatenate([np.zeros((0, ALIGNMENTS), np.int64), *(part[0] for part in parts)])
        keys = np.concatenate([np.zeros((0, ALIGNMENTS), np.uint64), *(part[1] for part in parts)])
        order = np.argsort(keys, axis=None)
        # No page has zeros alone for an anchor, unless it was lost since it was looked at. All memory is full of them.
        order = order[keys.reshape(-1)[order] != 0]
        ascending = keys.reshape(-1)[order]
        bits = max(16, int(ascending.size).bit_length() + 3)
        coarse, fine = np.zeros(1 << bits, np.bool_), np.zeros(1 << bits, np.bool_)
        probes = keys[:, list(PROBED_ALIGNMENTS)]
        anchors = cls(ascending, order // ALIGNMENTS, offsets.reshape(-1)[order], offsets, probes, coarse, fine)
        coarse[anchors._coarse_bits(ascending)] = True
        fine[anchors._fine_bits(ascending)] = True
        return anchors

    def look_up(self, words: Words, scratch: Scratch | None = None) -> Iterator[tuple[Pages, Pages]]:
        """Yield (word index, anchor index) arrays for the pairs of neighbours in `words` that are an anchor.

        Who looks up again and again has the `scratch` for it: memory that is new each time costs as much as the work.
        """
        space = scratch or Scratch.new()
        for start in range(0, len(words) - 1, _LOOKED_UP_WORDS):
            count = min(_LOOKED_UP_WORDS, len(words) - 1 - start)
            keys, high, hit = space.keys[:count], space.products[:count], space.hits[:count]
            np.multiply(words[start : start + count], _LOW_FACTOR, out=keys)
            np.multiply(words[start + 1 : start + 1 + count], _HIGH_FACTOR, out=high)
            np.add(keys, high, out=keys)
            np.right_shift(keys, self._shift, out=high)
            np.take(self.coarse, high.view(np.int64), out=hit, mode="clip")
            found = np.flatnonzero(hit)
            yield from self._matches(found + start, keys[found])

    def _matches(self, places: Pages, keys: Words) -> Iterator[tuple[Pages, Pages]]:
        """Yield what is an anchor of some keys that may be one."""
        likely = np.flatnonzero(self.fine[self._fine_bits(keys)])
        places, keys = places[likely], keys[likely]
        lows = np.searchsorted(self.keys, keys, side="left")
        counts = np.searchsorted(self.keys, keys, side="right") - lows
        # Pages that differ may have an anchor in common: one pair of words then stands for several pages.
        parts = (np.cumsum(counts) - 1) // _MATCHES_AT_ONCE
        last_part = int(parts[-1]) if len(parts) else -1
        for start, end in pairwise(np.searchsorted(parts, np.arange(last_part + 2)).tolist()):
            some = slice(start, end)
            yield np.repeat(places[some], counts[some]), spread(lows[some], counts[some])

    @property
    def _shift(self) -> np.uint64:
        return np.uint64(64 - (len(self.coarse).bit_length() - 1))

    def _coarse_bits(self, keys: Words) -> Pages:
        return (keys >> self._shift).astype(np.int64)

    def _fine_bits(self, keys: Words) -> Pages:
        return ((keys >> np.uint64(16)) & np.uint64(len(self.fine) - 1)).astype(np.int64)


class _Frequency:
    """How often the keys that hash alike occur, up to 255."""

    def __init__(self, keys: Words) -> None:
        bits = max(16, keys.size.bit_length() - 1)
        self._shift = np.uint64(64 - bits)
        counts = np.bincount(self._places(keys).reshape(-1), minlength=1 << bits)
        self._counts = np.minimum(counts, _FREQUENT).astype(np.uint8)

    def __getitem__(self, keys: Words) -> npt.NDArray[np.uint8]:
        found: npt.NDArray[np.uint8] = self._counts[self._places(keys)]
        return found

    def _places(self, keys: Words) -> Pages:
        return (keys >> self._shift).view(np.int64)


def _choose(contents: Contents, part: Pages) -> tuple[Pages, Words]:
    """Return the offsets and keys of the anchors of `part`, a row of eight for each content."""
    keys = np.empty((len(part), len(_SPOT_OFFSETS), ALIGNMENTS), np.uint64)
    scores = np.empty(keys.shape, np.int32)
    for start in range(0, len(part), _BATCH_PAGES):
        batch = slice(start, start + _BATCH_PAGES)
        rows = contents.rows(part[batch])
        pieces = np.lib.stride_tricks.sliding_window_view(rows, ANCHOR_BYTES, axis=1)
        for alignment in range(ALIGNMENTS):
            keys[batch, :, alignment], scores[batch, :, alignment] = _keys(pieces[:, alignment:][:, _SPOTS])
    frequency = _Frequency(keys)
    scores += frequency[keys]
    best = scores.argmin(axis=1)[:, None, :]
    offsets = _SPOT_OFFSETS[best[:, 0, :]] + np.arange(ALIGNMENTS)
    chosen = np.take_along_axis(keys, best, axis=1)[:, 0, :]
    common = np.flatnonzero((np.take_along_axis(scores, best, axis=1)[:, 0, :] > _RARE).any(axis=1))
    for start in range(0, len(common), _BATCH_PAGES):
        batch_rows = common[start : start + _BATCH_PAGES]
        offsets[batch_rows], chosen[batch_rows] = _choose_among_all(contents.rows(part[batch_rows]), frequency)
    return offsets, chosen


def _choose_among_all(rows: Bytes, frequency: _Frequency) -> tuple[Pages, Words]:
    offsets = np.empty((len(rows), ALIGNMENTS), np.int64)
    chosen = np.empty((len(rows), ALIGNMENTS), np.uint64)
    for alignment in range(ALIGNMENTS):
        pieces = (PAGE_SIZE - alignment) // ALIGNMENTS - 1
        words = np.ascontiguousarray(rows[:, alignment : alignment + (pieces + 1) * ALIGNMENTS]).view(np.uint64)
        keys, scores = _score(words[:, :-1], words[:, 1:])
        scores += frequency[keys]
        best = scores.argmin(axis=1)
        offsets[:, alignment] = best * ALIGNMENTS + alignment
        chosen[:, alignment] = keys[np.arange(len(rows)), best]
    return offsets, chosen


def keys_of(pieces: Bytes) -> Words:
    """Return the keys of pieces of memory, a row of ANCHOR_BYTES for each."""
    words = np.ascontiguousarray(pieces).view(np.uint64)
    keys: Words = words[..., 0] * _LOW_FACTOR + words[..., 1] * _HIGH_FACTOR
    return keys


def _keys(pieces: Bytes) -> tuple[Words, Scores]:
    words = np.ascontiguousarray(pieces).view(np.uint64)
    return _score(words[..., 0], words[..., 1])


def _score(low: Words, high: Words) -> tuple[Words, Scores]:
    # All memory is full of zeros and of repetitions, whatever is rare in the segments.
    half_zero = ((low == 0) | (high == 0)).astype(np.int32)
    scores = (low == high).astype(np.int32) * _REPEATED_SCORE + half_zero * _HALF_ZERO_SCORE
    return low * _LOW_FACTOR + high * _HIGH_FACTOR, scores


def _batches(count: int, size: int) -> list[Pages]:
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
