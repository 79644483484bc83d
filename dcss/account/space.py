"""The populated pages of one process, and which mapping each belongs to."""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.account.maps import Vma, read_maps
from dcss.account.pagemap import Entries, Pagemap, Pages, is_file, is_populated
from dcss.account.targets import AddressRange

_SPARSE_PRIVATE_PAGES = 1 << 12  # from 16 MiB on, private ranges are mostly reserved rather than used
_SPARSE_FILE_PAGES = 1 << 18
_GAP_PAGES = 64  # entries read in vain cost less than another call

Object = tuple[int, int]  # device and inode


class ObjectPages(NamedTuple):
    """Populated pages of one object's mappings: virtual page, page in the object, pagemap entry; one of each a page."""

    pages: Pages
    object_pages: Pages
    entries: Entries


@dataclass(frozen=True, slots=True, eq=False)
class AddressSpace:
    """One process's mappings, ascending, and its present or swapped pages, ascending, with their pagemap entries."""

    pid: int
    vmas: list[Vma]
    pages: Pages
    entries: Entries

    @classmethod
    def read(cls, pid: int, objects: Container[Object] | None = None) -> Self:
        """Read process `pid`, or only its mappings of `objects`. Errors as dcss.account.proc has them."""
        vmas = read_maps(pid)
        if objects is not None:
            vmas = [vma for vma in vmas if vma.object in objects]
        pages: list[Pages] = []
        entries: list[Entries] = []
        with Pagemap(pid) as pagemap:
            for first, count in _runs_to_read(vmas, pagemap):
                found = pagemap.read(first, count)
                used = np.flatnonzero(is_populated(found))
                pages.append(used + first)
                entries.append(found[used])
        none = np.zeros(0, np.int64)
        return cls(pid, vmas, np.concatenate([none, *pages]), np.concatenate([none.astype(np.uint64), *entries]))

    def without(self, objects: Container[Object]) -> Self:
        """Return the same space without the pages of `objects`; private copies of such pages stay."""
        firsts, lengths = self._slices([vma for vma in self.vmas if vma.inode and vma.object in objects])
        where = spread(firsts, lengths)
        keep = np.ones(len(self.pages), np.bool_)
        # Written copies in a private mapping of an object are no file pages any more.
        keep[where] = ~is_file(self.entries[where])
        return replace(self, pages=self.pages[keep], entries=self.entries[keep])

    def of_object(self, wanted: Object, within: AddressRange | None = None) -> ObjectPages:
        """Return the populated pages of mappings of `wanted`, in all the process or `within` a range."""
        return self.of_vmas(self.vmas_of(wanted, within))

    def vmas_of(self, wanted: Object, within: AddressRange | None = None) -> list[Vma]:
        """Return the mappings of `wanted` that touch `within`, cut to it."""
        found = [vma for vma in self.vmas if vma.inode == wanted[1] and vma.device == wanted[0]]
        return found if within is None else [cut(vma, within) for vma in found if within.overlaps(vma.start, vma.end)]

    def of_vmas(self, vmas: list[Vma]) -> ObjectPages:
        """Return the populated pages of `vmas`."""
        firsts, lengths = self._slices(vmas)
        shifts = np.array([(vma.offset_bytes - vma.start) >> PAGE_SHIFT for vma in vmas], np.int64)
        where = spread(firsts, lengths)
        pages = self.pages[where]
        return ObjectPages(pages, pages + np.repeat(shifts, lengths), self.entries[where])

    def _slices(self, vmas: list[Vma]) -> tuple[Pages, Pages]:
        """Return where in `pages` those of each mapping begin, and how many they are."""
        bounds = np.array([(vma.start, vma.end) for vma in vmas], np.int64).reshape(-1, 2) >> PAGE_SHIFT
        firsts = np.searchsorted(self.pages, bounds[:, 0])
        return firsts, np.searchsorted(self.pages, bounds[:, 1]) - firsts


def spread(firsts: Pages, lengths: Pages) -> Pages:
    """Return first, first + 1, ... for each run of (first, length), one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    places: Pages = np.arange(total) + np.repeat(firsts - (ends - lengths), lengths)
    return places


def cut(vma: Vma, within: AddressRange) -> Vma:
    """Return the part of `vma` that lies in `within`."""
    start, end = max(vma.start, within.start), min(vma.end, within.end)
    if (start, end) == (vma.start, vma.end):
        return vma
    return vma._replace(start=start, end=end, offset_bytes=vma.offset_bytes + start - vma.start)


def _runs_to_read(vmas: list[Vma], pagemap: Pagemap) -> list[tuple[int, int]]:
    # Neighbouring mappings are read in one call; the big reserved ones only where they are populated.
    runs: list[tuple[int, int]] = []
    for vma in vmas:
        if vma.path == b"[vsyscall]":  # in the kernel's half of the addresses
            continue
        first, count = vma.start >> PAGE_SHIFT, vma.pages
        sparse = count >= (_SPARSE_FILE_PAGES if vma.inode else _SPARSE_PRIVATE_PAGES)
        for start, length in pagemap.populated(first, count) if sparse else [(first, count)]:
            end = runs[-1][0] + runs[-1][1] if runs else None
            if end is not None and start - end <= _GAP_PAGES:
                runs[-1] = runs[-1][0], start + length - runs[-1][0]
            else:
                runs.append((start, length))
    return runs
