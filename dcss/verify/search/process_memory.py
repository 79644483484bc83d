"""The memory of a system's processes that may hold hidden copies, and the search through all of it.

Guests are forked from one server and have most of their private pages in common until one writes. Where frames are
visible, a page that stands in the same frame at the same address as in an earlier process, which is held still since
that was searched, is not searched again: what was found there counts for this process as well.
"""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.memory_map import Object
from dcss.account.pagemap import Entries, Flags, Pages, frames_of, is_file, is_present
from dcss.account.proc import ProcessGoneError, open_proc
from dcss.account.space import ProcessPages
from dcss.verify.backing import Backings
from dcss.verify.search.searcher import Found, Hits, Original, Searcher
from dcss.verify.segment_content import Bytes

_KERNEL_MAPPINGS = frozenset({b"[vvar]", b"[vvar_vclock]", b"[vsyscall]"})  # of device memory: nobody can write there
_NOWHERE = -1
_REMEMBERED_PAGES = 1 << 14


class ProcessMemory(AbstractContextManager["ProcessMemory"]):
    """/proc/PID/mem, which also reads what the process itself may not (PROT_NONE).

    Not process_vm_readv: it pins pages, for which the kernel gives a process its own copy of each that it has in common
    with another.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = open_proc(pid, "mem")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, first_page: int, buffer: Bytes) -> int:
        """Fill `buffer` from a page on; returns the bytes read, 0 where the first page cannot be read."""
        try:
            done = os.preadv(self._descriptor, [buffer.data], first_page << PAGE_SHIFT)
        except OSError:
            return 0
        if done == 0:
            raise ProcessGoneError(self._pid, "mem")
        return done


@dataclass(frozen=True, slots=True, eq=False)
class Searchable:
    """Pages of one process to be searched, ascending, with their entries and frames (0 where in swap, or hidden)."""

    space: ProcessPages
    pages: Pages
    entries: Entries
    frames: Entries

    @classmethod
    def of(cls, space: ProcessPages, segments: frozenset[Object], backings: Backings, *, shared: bool) -> Self:
        """Select private pages and, with `shared`, the present pages of shared memory that is no segment's."""
        # Pages in swap are no file pages either: reading brings them back.
        wanted = ~is_file(space.entries)
        for vma in space.vmas:
            if vma.path in _KERNEL_MAPPINGS and not vma.inode:
                wanted[_places(space, vma)] = False
            elif shared and is_foreign_memory(space.pid, vma, segments, backings):
                places = _places(space, vma)
                wanted[places] |= is_present(space.entries[places])
        entries = space.entries[wanted]
        return cls(space, space.pages[wanted], entries, frames_of(entries))

    def only(self, wanted: Flags) -> Self:
        """Return some of the pages."""
        return replace(self, pages=self.pages[wanted], entries=self.entries[wanted], frames=self.frames[wanted])

    def ends_of(self, addresses: Pages) -> tuple[Pages, Pages]:
        """Return the places in `pages` in which a whole page at each of `addresses` begins and ends."""
        first = np.searchsorted(self.pages, addresses >> PAGE_SHIFT)
        return first, np.searchsorted(self.pages, (addresses + PAGE_SIZE - 1) >> PAGE_SHIFT)


def is_foreign_memory(pid: int, vma: Vma, segments: frozenset[Object], backings: Backings) -> bool:
    """Say whether a mapping is of shared memory or of a file in memory, and of no segment."""
    if not vma.inode or vma.object in segments:
        return False
    return backings.of_mapping(pid, vma)


class _Searched(NamedTuple):
    """A process that was searched and is held still: its pages that could be read, and what was found in them."""

    process: Searchable
    hits: Hits


class ProcessSearch:
    """Searches processes one after the other.

    Those that are kept must be held still until the last search, or until they are dropped.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._kept: list[_Searched] = []
        self._original: Original | None = None

    @property
    def kept(self) -> int:
        """How many processes are kept."""
        return len(self._kept)

    def drop_to(self, count: int) -> None:
        """Keep the first `count` processes only."""
        del self._kept[count:]
        if not self._kept:
            self._original = None

    def search(self, process: Searchable, *, keep: bool) -> Found:
        """Search one process. Raises MeasurementDeniedError where its memory may not be read: only an ancestor may."""
        owner = self._owners(process)
        known = [self._known_hits(process, owner, index) for index in range(self.kept)]
        wanted = _with_neighbours(process.pages, _unknown(process.pages, owner))
        pages, of_original = process.pages[wanted], owner[wanted] == 0
        with ProcessMemory(process.space.pid) as memory:
            if keep and self._original is None:
                direct, self._original = self._searcher.search_original(memory.read, pages, _REMEMBERED_PAGES)
            else:
                direct = self._searcher.search(memory.read, pages, self._original, of_original)
        found = Found(Hits.joined([direct.hits, *known]), direct.unreadable)
        if keep:
            readable = process.only(~np.isin(process.pages, found.unreadable))
            self._kept.append(_Searched(readable, found.hits))
        return found

    def _owners(self, process: Searchable) -> Pages:
        """Say for each page which kept process has the same frame at the same address, or NOWHERE."""
        owner = np.full(len(process.pages), _NOWHERE)
        for index in reversed(range(self.kept)):
            earlier = self._kept[index].process
            if not len(earlier.pages):
                continue
            places = np.minimum(np.searchsorted(earlier.pages, process.pages), len(earlier.pages) - 1)
            same = (earlier.pages[places] == process.pages) & (earlier.frames[places] == process.frames)
            # What is in swap, or hidden, cannot be recognized.
            owner[same & (process.frames != 0)] = index
        return owner

    def _known_hits(self, process: Searchable, owner: Pages, index: int) -> Hits:
        """Return what was found in a kept process in pages that this one has in common with it."""
        hits = self._kept[index].hits
        if not len(hits.addresses):
            return hits
        whole = np.ones(len(hits.addresses), np.bool_)
        for numbers in (hits.addresses >> PAGE_SHIFT, (hits.addresses + PAGE_SIZE - 1) >> PAGE_SHIFT):
            if not len(process.pages):
                return Hits(hits.addresses[:0], hits.contents[:0])
            places = np.minimum(np.searchsorted(process.pages, numbers), len(process.pages) - 1)
            whole &= (process.pages[places] == numbers) & (owner[places] == index)
        return Hits(hits.addresses[whole], hits.contents[whole])


def _unknown(pages: Pages, owner: Pages) -> Flags:
    """Say which pages must be searched: what no kept process has, and where those of two such processes meet."""
    unknown: Flags = owner == _NOWHERE
    border = np.flatnonzero((np.diff(owner) != 0) & (np.diff(pages) == 1))
    unknown[border] = True
    unknown[border + 1] = True
    return unknown


def _with_neighbours(pages: Pages, chosen: Flags) -> Flags:
    """Add the neighbours of chosen pages: a copy may begin or end on a page that was searched elsewhere."""
    wide = chosen.copy()
    # Pages apart are no neighbours, whatever their place in the array.
    adjacent = np.diff(pages) == 1
    wide[1:] |= chosen[:-1] & adjacent
    wide[:-1] |= chosen[1:] & adjacent
    return wide


def _places(space: ProcessPages, vma: Vma) -> slice:
    first, last = np.searchsorted(space.pages, (vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT))
    return slice(int(first), int(last))
