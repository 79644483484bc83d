"""The memory of a system's processes that may hold hidden copies, and the search through all of it.

Guests are forked from one server and have most of their private pages in common until one writes. Each process is
compared with the one that was searched before it: where frames are visible, by the frames of those that are held still,
and else by its bytes. Only what differs is searched.
"""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.memory_map import MemoryMap
from dcss.account.pagemap import Entries, Pages, frames_of, is_file, is_present
from dcss.account.proc import ProcessGoneError, open_proc
from dcss.account.space import ProcessPages
from dcss.account.targets import Object
from dcss.verify.backing import Backings
from dcss.verify.search.last_searched import LastSearched, find
from dcss.verify.search.searcher import Found, Searcher
from dcss.verify.segment_content import Bytes

_KERNEL_MAPPINGS = frozenset({b"[vvar]", b"[vvar_vclock]", b"[vsyscall]"})  # of device memory: nobody can write there

_KEPT_MAPS = 32


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
        for vma in _kernel_mappings(space.map):
            wanted[_places(space, vma)] = False
        for vma in space.vmas if shared else ():
            if is_foreign_memory(space.pid, vma, segments, backings):
                places = _places(space, vma)
                wanted[places] |= is_present(space.entries[places])
        entries = space.entries[wanted]
        return cls(space, space.pages[wanted], entries, frames_of(entries))

    def ends_of(self, addresses: Pages) -> tuple[Pages, Pages]:
        """Return the places in `pages` in which a whole page at each of `addresses` begins and ends."""
        first = np.searchsorted(self.pages, addresses >> PAGE_SHIFT)
        return first, np.searchsorted(self.pages, (addresses + PAGE_SIZE - 1) >> PAGE_SHIFT)


@lru_cache(_KEPT_MAPS)
def _kernel_mappings(found: MemoryMap) -> tuple[Vma, ...]:
    """Return the kernel's own mappings of a process; guests that are forked alike have the map in common."""
    return tuple(vma for vma in found.vmas if vma.path in _KERNEL_MAPPINGS and not vma.inode)


def is_foreign_memory(pid: int, vma: Vma, segments: frozenset[Object], backings: Backings) -> bool:
    """Say whether a mapping is of shared memory or of a file in memory, and of no segment."""
    if not vma.inode or vma.object in segments:
        return False
    return backings.of_mapping(pid, vma)


class ProcessSearch:
    """Searches processes one after the other.

    Those that are kept must be held still until the last search, or until they are dropped.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._last = LastSearched(searcher)
        self._kept: list[Searchable] = []

    @property
    def kept(self) -> int:
        """How many processes are kept."""
        return len(self._kept)

    def drop_to(self, count: int) -> None:
        """Keep the first `count` processes only."""
        if count < len(self._kept):
            del self._kept[count:]
            self._last.frames = self._of_kept(self._last.pages, self._last.frames)

    def search(self, process: Searchable, *, keep: bool) -> Found:
        """Search one process. Raises MeasurementDeniedError where its memory may not be read: only an ancestor may."""
        frames = process.frames if keep else self._of_kept(process.pages, process.frames)
        with ProcessMemory(process.space.pid) as memory:
            found = self._last.search(memory.read, process.pages, frames)
        if keep:
            self._kept.append(process)
        return found

    def _of_kept(self, pages: Pages, frames: Entries) -> Entries:
        """Return the frames that a kept process has at the same address; 0 for others, which may be written."""
        found = np.zeros(len(pages), np.uint64)
        left = np.arange(len(pages))
        for process in reversed(self._kept):  # the last one is a template, which has most frames in common with guests
            same, places = find(process.pages, pages[left])
            same[same] = process.frames[places[same]] == frames[left[same]]
            found[left[same]] = frames[left[same]]
            left = left[~same]
        return found


def _places(space: ProcessPages, vma: Vma) -> slice:
    first, last = np.searchsorted(space.pages, (vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT))
    return slice(int(first), int(last))
