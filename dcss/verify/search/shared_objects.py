"""Shared memory that guests can reach: mapped, or only held open; searched by object, whether present or not."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from errno import ENXIO
from typing import Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.pagemap import Pages
from dcss.account.space import AddressSpace, Object
from dcss.verify.backing import Backings, open_object, paths_to
from dcss.verify.descriptors import OpenFile
from dcss.verify.search.process_memory import ProcessMemory, is_foreign_memory
from dcss.verify.search.searcher import Searcher
from dcss.verify.segment_view import Bytes

_MAX_FAULTED_PAGES = 1 << 18


@dataclass(slots=True)
class Reachable:
    """One object in memory, where it may be opened, and what guests have of it: mappings (with pid) or a descriptor."""

    object: Object
    name: str
    paths: list[str] = field(default_factory=list)
    mapped: dict[str, list[tuple[int, Vma]]] = field(default_factory=dict)
    opened: dict[str, OpenFile] = field(default_factory=dict)

    @property
    def guests(self) -> list[str]:
        """All guests that reach it."""
        return list(dict.fromkeys((*self.mapped, *self.opened)))


class ObjectMemory(AbstractContextManager["ObjectMemory"]):
    """An object's bytes, by page of the object; holes are left out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def pages(self) -> Pages:
        """Return the numbers of the pages that hold data."""
        runs = []
        end = 0
        while True:
            try:
                start = os.lseek(self._descriptor, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == ENXIO:  # nothing behind `end`
                    break
                raise
            end = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            runs.append(np.arange(start >> PAGE_SHIFT, -(-end // PAGE_SIZE)))
        return np.concatenate([np.zeros(0, np.int64), *runs])

    def read(self, first_page: int, buffer: Bytes) -> int:
        """Fill `buffer` from a page on; behind the end of the object it reads as zeros."""
        done = os.preadv(self._descriptor, [buffer.data], first_page << PAGE_SHIFT)
        # The last page of an object may be cut short.
        buffer[done:] = 0
        return len(buffer)


class Collector:
    """Collects what guests reach, each object once."""

    def __init__(self, segments: set[Object], host_files: set[Object], backings: Backings) -> None:
        self._segments = segments
        self._host_files = host_files
        self._backings = backings
        self.found: dict[Object, Reachable] = {}

    def add_space(self, guest: str, space: AddressSpace) -> None:
        """Add the shared memory that one process of `guest` maps."""
        for vma in space.vmas:
            # The guest inherited these mappings; nothing of a segment can be in them.
            if not vma.inode or vma.object in self._host_files:
                continue
            if is_foreign_memory(space.pid, vma, self._segments, self._backings):
                reachable = self._reachable(vma.object, os.fsdecode(vma.path))
                reachable.paths += paths_to(space.pid, vma)
                reachable.mapped.setdefault(guest, []).append((space.pid, vma))

    def add_file(self, guest: str, file: OpenFile) -> None:
        """Add a file in memory that `guest` holds open."""
        if file.object in self._segments or file.object in self._host_files:
            return
        if self._backings.of_file(file.pid, file.device, file.inode, file.path):
            reachable = self._reachable(file.object, "")
            reachable.paths.append(file.path)
            reachable.opened.setdefault(guest, file)

    def _reachable(self, wanted: Object, name: str) -> Reachable:
        return self.found.setdefault(wanted, Reachable(wanted, name))


def host_files(spaces: list[AddressSpace]) -> set[Object]:
    """Return what the fork server maps privately: the interpreter and its libraries, which may lie on a tmpfs.

    Memory files made by a program (memfd) are none, however they are mapped.
    """
    return {
        vma.object
        for space in spaces
        for vma in space.vmas
        if vma.inode and not vma.shared and vma.path.startswith(b"/") and not vma.path.startswith(b"/memfd:")
    }


def search_reachable(searcher: Searcher, reachable: Reachable) -> tuple[Pages, str | None]:
    """Return the contents found in an object (with repetitions), and why not all of it could be searched, if so."""
    descriptor = open_object(reachable.paths, *reachable.object)
    if descriptor is not None:
        with ObjectMemory(descriptor) as memory:
            found = searcher.search(memory.read, memory.pages())
        return found.hits.contents, None
    if not reachable.mapped:
        return np.zeros(0, np.int64), "it cannot be opened by this user"
    return _search_mapped(searcher, next(iter(reachable.mapped.values())))


def _search_mapped(searcher: Searcher, mappings: list[tuple[int, Vma]]) -> tuple[Pages, str | None]:
    # Reading through the process's own mapping makes absent pages present, hence the limit.
    contents = [np.zeros(0, np.int64)]
    for pid, vma in mappings:
        if vma.pages > _MAX_FAULTED_PAGES:
            return np.concatenate(contents), f"its mapping of {vma.pages} pages cannot be opened by this user"
        with ProcessMemory(pid) as memory:
            found = searcher.search(memory.read, np.arange(vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT))
        contents.append(found.hits.contents)
        if len(found.unreadable):
            return np.concatenate(contents), f"{len(found.unreadable)} of its pages cannot be read"
    return np.concatenate(contents), None
