"""The distinct pages of all segments: pages that hold the same bytes are one content, low-entropy pages are none.

A page has low entropy if fewer than 16 of its bytes differ from one repeated byte. The tail of an emptied directory
is one byte and 4095 zeros, and unrelated memory holds such pages by chance.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Flags, Pages
from dcss.verify.segment_content import Bytes, SegmentContent
from dcss.verify.segment_view import NO_FILE, SegmentFiles, SegmentView
from dcss.verify.volumes import VolumeView, volumes_of

LOW_ENTROPY = -1
_DISTINCTIVE_BYTES = 16
_SAMPLES = 2 * _DISTINCTIVE_BYTES + 1  # of a low-entropy page's samples, more than half are the repeated byte
_BATCH_PAGES = 512

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Contents are numbered from 0; `of_page` has each segment page's number, or LOW_ENTROPY.

    `segment` and `page` name for each content one page that holds it, a file's page where any file holds it. `volumes`
    are the file systems on `segments`.
    """

    segments: tuple[SegmentView, ...]
    of_page: tuple[Pages, ...]
    segment: Pages
    page: Pages
    volumes: tuple[VolumeView, ...]

    @classmethod
    def of(cls, segments: Sequence[SegmentView]) -> Self:
        """Compare all pages of `segments` with each other."""
        none = np.zeros(0, np.int64)
        factors = np.frombuffer(os.urandom(4 * PAGE_SIZE), np.uint64).reshape(PAGE_SIZE // 8, 2, 2)
        looked_at = [_look_at(segment.content, factors) for segment in segments]
        digests = np.concatenate([none.astype(np.uint64), *(each[0] for each in looked_at)])
        distinctive = np.concatenate([none.astype(np.bool_), *(~each[1] for each in looked_at)])
        lengths = [segment.pages for segment in segments]
        # Files' pages first: np.unique names the first page of each content.
        in_no_file = [(segment.files.owner == NO_FILE) | segment.own_pages for segment in segments]
        order = np.argsort(np.concatenate([none.astype(np.bool_), *in_no_file])[distinctive], kind="stable")
        rows = np.flatnonzero(distinctive)[order]
        _, first, content = np.unique(digests[rows], return_index=True, return_inverse=True)
        # Numbered as their pages lie: then the bytes of neighbours are read by one call.
        ascending = np.argsort(first)
        first, content = first[ascending], np.argsort(ascending)[content]
        # A row is a page of all segments, one after the other.
        of_row = np.full(len(digests), LOW_ENTROPY)
        of_row[rows] = content
        bounds = np.cumsum([0, *lengths])
        named = rows[first]
        segment_of = np.searchsorted(bounds, named, side="right") - 1
        of_page = tuple(np.split(of_row, bounds[1:-1])) if lengths else ()
        volumes = tuple(volumes_of(segments))
        return cls(tuple(segments), of_page, segment_of, named - bounds[segment_of], volumes)

    def __len__(self) -> int:
        return len(self.page)

    def rows(self, contents: Pages) -> Bytes:
        """Return the bytes of each of `contents`, a row for each."""
        rows = np.empty((len(contents), PAGE_SIZE), np.uint8)
        pages = self.page[contents]
        if len(self.segments) == 1:
            self.segments[0].content.gather_into(rows, pages)
            return rows
        segments = self.segment[contents]
        for index, segment in enumerate(self.segments):
            mine = np.flatnonzero(segments == index)
            part = np.empty((len(mine), PAGE_SIZE), np.uint8)
            segment.content.gather_into(part, pages[mine])
            rows[mine] = part
        return rows

    def of_volume(self, volume: VolumeView) -> Pages:
        """Return the content of each page of a file system, or LOW_ENTROPY."""
        parts = [self.of_page[place] for place in volume.places]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def file_counts(self) -> Pages:
        """Return for each content how many files hold it."""
        holders = [
            np.unique(np.stack((self.of_volume(volume)[volume.files.pages], _file_of_page(volume.files))), axis=1)
            for volume in self.volumes
        ]
        contents = np.concatenate([np.zeros(0, np.int64), *(pairs[0] for pairs in holders)])
        return np.bincount(contents[contents != LOW_ENTROPY], minlength=len(self))


def _file_of_page(files: SegmentFiles) -> Pages:
    return np.repeat(np.arange(len(files.paths)), files.counts)


def windows(data: Bytes, size_bytes: int) -> Bytes:
    """Return a view of every `size_bytes` long piece of `data`, a row for each byte that one can begin at."""
    return np.lib.stride_tricks.sliding_window_view(data, size_bytes)


def _look_at(content: SegmentContent, factors: Words) -> tuple[Words, Flags]:
    """Return for each page its digest, and whether it has low entropy."""
    digests, low_entropy = np.empty(len(content), np.uint64), np.empty(len(content), np.bool_)
    buffer = np.empty((_BATCH_PAGES, PAGE_SIZE), np.uint8)
    for start in range(0, len(content), _BATCH_PAGES):
        rows = buffer[: len(content) - start]
        content.read_into(rows, start)
        digests[start : start + len(rows)] = _digests(rows, factors)
        low_entropy[start : start + len(rows)] = _low_entropy(rows)
    return digests, low_entropy


def _digests(rows: Bytes, factors: Words) -> Words:
    """Hash each page to 64 bits that two different pages have in common with a chance of 2^-64.

    Multilinear hashing of 32-bit words with random 64-bit factors: the upper halves of two such sums.
    """
    words = rows.view(np.uint64)
    low, high = words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)
    first, second = (low @ factors[:, 0, i] + high @ factors[:, 1, i] for i in range(2))
    digests: Words = (first & np.uint64(0xFFFFFFFF << 32)) | second >> np.uint64(32)
    return digests


def _low_entropy(rows: Bytes) -> Flags:
    samples = rows[:, np.linspace(0, PAGE_SIZE - 1, _SAMPLES).astype(np.int64)]
    repeated = np.sort(samples, axis=1)[:, _SAMPLES // 2]
    suspects = np.flatnonzero((samples == repeated[:, None]).sum(axis=1) > _SAMPLES // 2)
    low_entropy = np.zeros(len(rows), np.bool_)
    low_entropy[suspects] = (rows[suspects] != repeated[suspects, None]).sum(axis=1) < _DISTINCTIVE_BYTES
    return low_entropy
