"""The mappings of a process as one object, with what can be computed from them alone.

Guests are forked from one process and map the same files at the same addresses, so the maps of a thousand guests are
often the same text, byte for byte: it is parsed once, and what is derived from it is derived once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.account.maps import Vma, parse_maps
from dcss.account.pagemap import Pages
from dcss.account.targets import AddressRange, Object

_SPARSE_PRIVATE_PAGES = 1 << 12  # from 16 MiB on, private ranges are mostly reserved rather than used
_SPARSE_FILE_PAGES = 1 << 18
_DENSE_PAGES = 1 << 19  # 4 MiB of entries: where small mappings are more than that, they are looked at one by one
_GAP_PAGES = 64  # entries read in vain cost less than another call
_KEPT_MAPS = 32


@dataclass(frozen=True, slots=True, eq=False)
class MappingGroup:
    """Some mappings of one process, ascending; in pages: where each begins and ends, and where its object begins."""

    vmas: tuple[Vma, ...]
    first_pages: Pages
    end_pages: Pages
    shift_pages: Pages

    @classmethod
    def of(cls, vmas: Iterable[Vma]) -> Self:
        """Group `vmas`."""
        chosen = tuple(vmas)
        bounds = np.array([(vma.start, vma.end, vma.offset_bytes) for vma in chosen], np.int64).reshape(-1, 3)
        first_pages, end_pages, offset_pages = (bounds >> PAGE_SHIFT).T
        return cls(chosen, first_pages, end_pages, offset_pages - first_pages)


@dataclass(slots=True, eq=False)
class MemoryMap:
    """Mappings of one process, ascending by address: all of them, where `complete`."""

    vmas: tuple[Vma, ...]
    complete: bool = True
    _by_object: dict[Object, list[Vma]] = field(default_factory=dict)
    _groups: dict[object, MappingGroup] = field(default_factory=dict)
    _ranges: tuple[list[tuple[int, int]], list[tuple[int, int]]] | None = None

    @classmethod
    def of(cls, vmas: Sequence[Vma], *, complete: bool = True) -> Self:
        """Index `vmas` by the object that backs them; inode 0 means that nothing does."""
        by_object: dict[Object, list[Vma]] = {}
        for vma in vmas:
            if vma.inode:
                by_object.setdefault(vma.object, []).append(vma)
        return cls(tuple(vmas), complete, by_object)

    @property
    def objects(self) -> Iterable[Object]:
        """The objects that back any mapping."""
        return self._by_object.keys()

    def of_object(self, wanted: Object, within: AddressRange | None = None) -> MappingGroup:
        """Return the mappings of `wanted` or, with `within`, those that touch a range, cut to it."""
        key = wanted, within
        if key not in self._groups:
            vmas = self._by_object.get(wanted, [])
            if within is not None:
                vmas = [cut(vma, within) for vma in vmas if within.overlaps(vma.start, vma.end)]
            self._groups[key] = MappingGroup.of(vmas)
        return self._groups[key]

    def of_objects(self, wanted: frozenset[Object]) -> MappingGroup:
        """Return the mappings of all of `wanted`."""
        if wanted not in self._groups:
            self._groups[wanted] = MappingGroup.of(vma for vma in self.vmas if vma.inode and vma.object in wanted)
        return self._groups[wanted]

    def only(self, wanted: frozenset[Object]) -> "MemoryMap":
        """Return the map of the mappings that `wanted` back."""
        return MemoryMap.of([vma for vma in self.vmas if vma.inode and vma.object in wanted], complete=False)

    def without_shared(self, objects: frozenset[Object]) -> "MemoryMap":
        """Return the map of all mappings but the shared ones of `objects`, which hold nothing private."""
        kept = [vma for vma in self.vmas if not (vma.inode and vma.shared and vma.object in objects)]
        return MemoryMap.of(kept, complete=False)

    def ranges(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return (first page, pages) of mappings to read whole, and of big reservations, which hold little.

        What lies side by side is joined: guests have three reservations in a row.
        """
        if self._ranges is None:
            dense: list[tuple[int, int]] = []
            sparse: list[tuple[int, int]] = []
            for vma in self.vmas:
                if vma.path == b"[vsyscall]":  # in the kernel's half of the addresses
                    continue
                is_sparse = vma.pages >= (_SPARSE_FILE_PAGES if vma.inode else _SPARSE_PRIVATE_PAGES)
                (sparse if is_sparse else dense).append((vma.start >> PAGE_SHIFT, vma.pages))
            if sum(pages for _, pages in dense) > _DENSE_PAGES:
                dense, sparse = [], sorted([*dense, *sparse])
            # What lies between some of the mappings may be populated, and is not asked for where they are not all.
            self._ranges = joined(dense, _GAP_PAGES if self.complete else 0), joined(sparse)
        return self._ranges


def joined(runs: Iterable[tuple[int, int]], gap_pages: int = 0) -> list[tuple[int, int]]:
    """Join ascending runs that overlap or are at most `gap_pages` apart: they are read in one call."""
    found: list[tuple[int, int]] = []
    for first, count in runs:
        if found and first - sum(found[-1]) <= gap_pages:
            found[-1] = found[-1][0], max(sum(found[-1]), first + count) - found[-1][0]
        else:
            found.append((first, count))
    return found


def cut(vma: Vma, within: AddressRange) -> Vma:
    """Return the part of `vma` that lies in `within`."""
    start, end = max(vma.start, within.start), min(vma.end, within.end)
    if (start, end) == (vma.start, vma.end):
        return vma
    return vma._replace(start=start, end=end, offset_bytes=vma.offset_bytes + start - vma.start)


@lru_cache(maxsize=_KEPT_MAPS)
def parse_map(text: bytes) -> MemoryMap:
    """Parse a whole maps file."""
    return MemoryMap.of(parse_maps(text))


@lru_cache(maxsize=_KEPT_MAPS)
def parse_map_only(text: bytes, wanted: frozenset[Object]) -> MemoryMap:
    """Parse a whole maps file, and keep the mappings of `wanted`."""
    return parse_map(text).only(wanted)


@lru_cache(maxsize=_KEPT_MAPS)
def parse_map_without_shared(text: bytes, objects: frozenset[Object]) -> MemoryMap:
    """Parse a whole maps file, and leave out the shared mappings of `objects`."""
    return parse_map(text).without_shared(objects)
