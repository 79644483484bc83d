"""The memory of a system's processes that may hold hidden copies, and the search through all of it.

Guests are forked from one server and have most of their private pages in common until one writes: where frames are
visible, each frame is searched once, and what is found in it counts for every process that maps it.
"""

import os
from collections.abc import Container
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.pagemap import Entries, Flags, Pages, frames_of, is_file, is_present
from dcss.account.proc import ProcessGoneError, open_proc
from dcss.account.space import AddressSpace, Object
from dcss.errors import MeasurementDeniedError
from dcss.verify.backing import Backings
from dcss.verify.search.searcher import Found, Hits, Searcher
from dcss.verify.segment_view import Bytes

_KERNEL_MAPPINGS = frozenset({b"[vvar]", b"[vvar_vclock]", b"[vsyscall]"})  # of device memory: nobody can write there


class ProcessMemory(AbstractContextManager["ProcessMemory"]):
    """/proc/PID/mem, which also reads what the process itself may not (PROT_NONE)."""

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

    space: AddressSpace
    pages: Pages
    entries: Entries
    frames: Entries

    @classmethod
    def of(cls, space: AddressSpace, segments: Container[Object], backings: Backings, *, shared: bool) -> Self:
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

    def ends_of(self, addresses: Pages) -> tuple[Pages, Pages]:
        """Return the places in `pages` in which a whole page at each of `addresses` begins and ends."""
        first = np.searchsorted(self.pages, addresses >> PAGE_SHIFT)
        return first, np.searchsorted(self.pages, (addresses + PAGE_SIZE - 1) >> PAGE_SHIFT)


def is_foreign_memory(pid: int, vma: Vma, segments: Container[Object], backings: Backings) -> bool:
    """Say whether a mapping is of shared memory or of a file in memory, and of no segment."""
    if not vma.inode or vma.object in segments:
        return False
    return backings.of_mapping(pid, vma)


class _Sighted(NamedTuple):
    """Copies in known frames: where a copy begins and ends, its offset in the first page, its content."""

    first: Entries
    last: Entries
    offsets: Pages
    contents: Pages


def search_processes(searcher: Searcher, processes: list[Searchable]) -> list[Found | MeasurementDeniedError]:
    """Search all of `processes`; for each what was found, or why its memory may not be read."""
    seen = np.zeros(0, np.uint64)
    direct: list[Found | MeasurementDeniedError] = []
    sighted: list[_Sighted] = []
    for process in processes:
        fresh = (process.frames == 0) | ~_among(seen, process.frames)
        try:
            # Only an ancestor, or root, may: verify runs in CP for this.
            with ProcessMemory(process.space.pid) as memory:
                found = searcher.search(memory.read, process.pages[_with_neighbours(process.pages, fresh)])
        except MeasurementDeniedError as error:
            direct.append(error)
            continue
        direct.append(found)
        # Two ascending runs: a stable sort merges them, which np.union1d does not.
        seen = np.concatenate((seen, np.sort(process.frames[fresh & (process.frames != 0)])))
        seen.sort(kind="stable")
        # What is in swap, or hidden, cannot be recognized elsewhere and counts for this process alone.
        first, last = (process.frames[places] for places in process.ends_of(found.hits.addresses))
        known = (first != 0) & (last != 0)
        offsets = found.hits.addresses[known] & (PAGE_SIZE - 1)
        sighted.append(_Sighted(first[known], last[known], offsets, found.hits.contents[known]))
    everywhere = _joined(sighted)
    return [
        found if isinstance(found, MeasurementDeniedError) else _with_others(process, found, everywhere)
        for process, found in zip(processes, direct, strict=True)
    ]


def _with_others(process: Searchable, found: Found, everywhere: _Sighted) -> Found:
    """Add the copies found in other processes in frames that this one maps, too."""
    if not len(everywhere.first) or not len(process.frames):
        return found
    # One place of a frame mapped twice is enough to name the guest.
    order = np.argsort(process.frames, kind="stable")
    places = np.searchsorted(process.frames[order], everywhere.first)
    at = order[np.minimum(places, len(order) - 1)]
    next_at = at + (everywhere.offsets != 0)
    mapped = (process.frames[at] == everywhere.first) & (next_at < len(order))
    at, next_at = at[mapped], next_at[mapped]
    offsets, contents = everywhere.offsets[mapped], everywhere.contents[mapped]
    whole = process.frames[next_at] == everywhere.last[mapped]
    whole &= process.pages[next_at] - process.pages[at] == next_at - at
    addresses = (process.pages[at[whole]] << PAGE_SHIFT) + offsets[whole]
    return Found(Hits.joined([found.hits, Hits(addresses, contents[whole])]), found.unreadable)


def _joined(sighted: list[_Sighted]) -> _Sighted:
    if not sighted:
        return _Sighted(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    return _Sighted(*(np.concatenate(columns) for columns in zip(*sighted, strict=True)))


def _places(space: AddressSpace, vma: Vma) -> slice:
    first, last = np.searchsorted(space.pages, (vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT))
    return slice(int(first), int(last))


def _among(ascending: Entries, wanted: Entries) -> Flags:
    if not len(ascending):
        return np.zeros(len(wanted), np.bool_)
    places = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    found: Flags = ascending[places] == wanted
    return found


def _with_neighbours(pages: Pages, chosen: Flags) -> Flags:
    """Add the neighbours of chosen pages: a copy may begin or end on a page that was searched elsewhere."""
    wide = chosen.copy()
    # Pages apart are no neighbours, whatever their place in the array.
    adjacent = np.diff(pages) == 1
    wide[1:] |= chosen[:-1] & adjacent
    wide[:-1] |= chosen[1:] & adjacent
    return wide
