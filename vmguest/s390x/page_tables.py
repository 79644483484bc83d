"""The tables by which s390 translates a program's addresses (z/Architecture Principles of Operation, chapter 3).

A region-third table has an entry for each 2 GiB, a segment table for each 1 MiB, a page table for each page: 4 TiB in
all, as Linux gives a program. The low byte of a page-table entry is left to software.
"""

import re
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence

from dcss.abi.page import PAGE_SIZE
from vmguest.s390x.page_frames import PageFrames

INVALID, PROTECT, NO_EXECUTE = 0x400, 0x200, 0x100  # of a page-table entry
OWNED = 0x01  # ours: the frame belongs to the program, and not to a file
ADDRESS_BITS = -PAGE_SIZE
PAGES_OF_TABLE = 256

_REGION_INVALID, _SEGMENT_INVALID = 0x20 | 0x04, 0x20
_REGION_THIRD, _FULL_LENGTH = 0x04, 0x03
_NO_REGIONS = struct.pack(">Q", _REGION_INVALID) * 2048
_NO_SEGMENTS = struct.pack(">Q", _SEGMENT_INVALID) * 2048
_NO_PAGES = struct.pack(">Q", INVALID) * PAGES_OF_TABLE
_ENTRY = struct.Struct(">Q")
_OWNED_BYTE = re.compile(re.escape(bytes([OWNED])))  # the low byte of such an entry
_SWAPPED = sys.byteorder == "little"


class PageTables:
    """The tables of one address space, by page number."""

    def __init__(self, frames: PageFrames) -> None:
        self._frames = frames
        self._memory = frames.memory
        self._regions: dict[int, int] = {}  # segment tables
        self._segments: dict[int, int] = {}  # page tables, by the first page that they are for, in units of 256
        self._root = frames.large_table(_NO_REGIONS)
        self.root = self._root | _REGION_THIRD | _FULL_LENGTH  # what control register 1 holds

    def get(self, page: int) -> int:
        """Return a page's entry; INVALID alone where it has none."""
        table = self._segments.get(page >> 8)
        if table is None:
            return INVALID
        entry: int = _ENTRY.unpack_from(self._memory, table + ((page & 255) << 3))[0]
        return entry

    def set(self, page: int, entry: int) -> None:
        """Set a page's entry."""
        table = self._segments.get(page >> 8)
        if table is None:
            table = self._new_table(page >> 8)
        _ENTRY.pack_into(self._memory, table + ((page & 255) << 3), entry)

    def set_run(self, page: int, pages: int, first: int) -> None:
        """Have pages stand for storage in a row: `first` is the entry of the first one."""
        while pages:
            count = min(pages, PAGES_OF_TABLE - (page & 255))
            self._store(page, array("Q", range(first, first + count * PAGE_SIZE, PAGE_SIZE)))
            page, pages, first = page + count, pages - count, first + count * PAGE_SIZE

    def set_all(self, page: int, pages: int, entry: int) -> None:
        """Give pages one and the same entry."""
        packed = _ENTRY.pack(entry)
        for first, count in self._parts(page, pages, all_of_them=entry != INVALID):
            table = self._segments.get(first >> 8) or self._new_table(first >> 8)
            start = table + ((first & 255) << 3)
            self._memory[start : start + 8 * count] = packed * count

    def reserve(self, page: int, pages: int) -> None:
        """Make the tables of pages, so that their entries can be set without fail. Raises KernelError(ENOMEM)."""
        for segment in range(page >> 8, (page + pages + 255) >> 8):
            if segment not in self._segments:
                self._new_table(segment)

    def entries(self, page: int, pages: int) -> Iterator[tuple[int, "array[int]"]]:
        """Yield the entries of pages that have a table: the first page, and the entries from it on, as a copy."""
        for first, count in self._parts(page, pages, all_of_them=False):
            start = self._segments[first >> 8] + ((first & 255) << 3)
            found = array("Q", bytes(self._memory[start : start + 8 * count]))
            if _SWAPPED:
                found.byteswap()
            yield first, found

    def _parts(self, page: int, pages: int, *, all_of_them: bool) -> Iterator[tuple[int, int]]:
        """Yield the part of a range that lies in each table: the first page, and how many."""
        end = page + pages
        segments: Sequence[int] = range(page >> 8, (end + 255) >> 8)
        if not all_of_them:
            if len(segments) > len(self._segments):  # of a large range, few pages may ever have been touched
                segments = sorted(each for each in self._segments if each in segments)
            else:
                segments = [each for each in segments if each in self._segments]
        for segment in segments:
            first = max(page, segment << 8)
            yield first, min(end, (segment + 1) << 8) - first

    def all_entries(self) -> Iterator[tuple[int, "array[int]"]]:
        """Yield the entries of every table, as `entries` does."""
        for segment in sorted(self._segments):
            yield from self.entries(segment << 8, PAGES_OF_TABLE)

    def owned_entries(self) -> Iterator[tuple[int, "array[int]", list[int]]]:
        """Yield the entries of every table, as `entries` does, and the places of those with OWNED."""
        for segment, table in sorted(self._segments.items()):
            packed = bytes(self._memory[table : table + 8 * PAGES_OF_TABLE])
            entries = array("Q", packed)
            if _SWAPPED:
                entries.byteswap()
            yield segment << 8, entries, [found.start() for found in _OWNED_BYTE.finditer(packed[7::8])]

    def store(self, page: int, entries: "array[int]") -> None:
        """Set the entries of pages from `page` on; all of them are in one table."""
        self._store(page, array("Q", entries))

    def free(self) -> None:
        """Give the tables back. The frames that they name are the caller's."""
        self._frames.free_page_tables(self._segments.values())
        self._frames.free_large_tables([self._root, *self._regions.values()])
        self._segments, self._regions = {}, {}

    def _store(self, page: int, entries: "array[int]") -> None:
        if _SWAPPED:
            entries.byteswap()
        table = self._segments.get(page >> 8) or self._new_table(page >> 8)
        start = table + ((page & 255) << 3)
        self._memory[start : start + 8 * len(entries)] = entries.tobytes()

    def _new_table(self, segment: int) -> int:
        region = segment >> 11
        segments = self._regions.get(region)
        if segments is None:
            segments = self._regions[region] = self._frames.large_table(_NO_SEGMENTS)
            _ENTRY.pack_into(self._memory, self._root + (region << 3), segments | _REGION_THIRD | _FULL_LENGTH)
        table = self._segments[segment] = self._frames.page_table(_NO_PAGES)
        _ENTRY.pack_into(self._memory, segments + ((segment & 2047) << 3), table)
        return table
