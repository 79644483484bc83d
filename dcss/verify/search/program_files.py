"""The emulator's own program and libraries: pages that its processes copied by writing and that are still the file's.

The loader and the interpreter write into private mappings of these files, and some pages are afterwards as they were. A
segment that holds the same file then has an equal page. Such a page was copied from the file by the engine's own
program: it lies where the fork server has it mapped, at the file's offset, with the file's content.
"""

import os
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.pagemap import Flags
from dcss.account.space import ProcessPages
from dcss.verify.backing import Backings, open_object, paths_to
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.searcher import Hits

_Piece = tuple[tuple[int, int], int]  # a file, and a place in it


class _Mapping(NamedTuple):
    pid: int
    vma: Vma


class ProgramFiles:
    """What the fork server maps privately; `hold` tells its pages from copies of a segment."""

    def __init__(self, servers: Sequence[ProcessPages], contents: Contents, backings: Backings) -> None:
        self._contents = contents
        self._backings = backings
        self._mappings = sorted(
            (_Mapping(space.pid, vma) for space in servers for vma in space.vmas if is_program_file(vma)),
            key=lambda mapping: mapping.vma.start,
        )
        self._starts = np.array([mapping.vma.start for mapping in self._mappings], np.int64)
        self._ends = np.array([mapping.vma.end for mapping in self._mappings], np.int64)
        self._read: dict[_Piece, bytes] = {}

    def hold(self, space: ProcessPages, hits: Hits) -> Flags:
        """Say which hits in a process are pages of the emulator's own files, as the files have them."""
        held = np.zeros(len(hits.addresses), np.bool_)
        if not len(held) or not self._mappings:
            return held
        which = np.searchsorted(self._starts, hits.addresses, side="right") - 1
        # All but a few of many hits lie elsewhere, in a page cache.
        inside = np.flatnonzero((which >= 0) & (hits.addresses + PAGE_SIZE <= self._ends[which]))
        own_starts = [vma.start for vma in space.vmas] if len(inside) else []
        for place in inside.tolist():
            address, mapping = int(hits.addresses[place]), self._mappings[int(which[place])]
            here = space.vmas[bisect_right(own_starts, address) - 1]
            if _shows_alike(mapping.vma, here, address):
                wanted = self._contents.rows(hits.contents[place : place + 1]).tobytes()
                held[place] = self._file_bytes(mapping, address) == wanted
        return held

    def _file_bytes(self, mapping: _Mapping, address: int) -> bytes:
        """Return what the file has where `address` shows it, a page long; nothing where it cannot be read."""
        vma = mapping.vma
        offset = vma.offset_bytes + address - vma.start
        piece = vma.object, offset
        if piece not in self._read:
            descriptor = open_object(self._backings, paths_to(mapping.pid, vma), vma.device, vma.inode)
            if descriptor is None:
                return b""
            try:
                self._read[piece] = os.pread(descriptor, PAGE_SIZE, offset).ljust(PAGE_SIZE, b"\0")
            finally:
                os.close(descriptor)
        return self._read[piece]


def is_program_file(vma: Vma) -> bool:
    """Return True if a process maps a file of the host privately, as programs and libraries are.

    Memory files made by a program (memfd) are none, however they are mapped.
    """
    return bool(vma.inode) and not vma.shared and vma.path.startswith(b"/") and not vma.path.startswith(b"/memfd:")


def _shows_alike(server: Vma, here: Vma, address: int) -> bool:
    """Say whether both mappings show the same bytes of the same file privately, for a page from `address` on."""
    end = address + PAGE_SIZE
    return (
        server.start <= address < end <= server.end
        and here.start <= address < end <= here.end
        and is_program_file(here)
        and server.object == here.object
        and server.offset_bytes - server.start == here.offset_bytes - here.start
    )
