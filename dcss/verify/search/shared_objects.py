"""Shared memory that guests can reach: mapped, or only held open; searched by object, whether present or not."""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from errno import ENXIO
from typing import Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.memory_map import MemoryMap
from dcss.account.pagemap import Pagemap, Pages
from dcss.account.space import ProcessPages
from dcss.account.targets import Object
from dcss.verify.backing import Backings, open_object, paths_to
from dcss.verify.descriptors import FileDescriptor
from dcss.verify.search.process_memory import ProcessMemory, is_foreign_memory
from dcss.verify.search.program_files import is_program_file
from dcss.verify.search.searcher import Searcher
from dcss.verify.segment_content import Bytes

_MAX_FAULTED_PAGES = 1 << 18


@dataclass(slots=True)
class Reachable:
    """One object in memory, and what a guest has of it: mappings (with pid), descriptors, or both."""

    object: Object
    name: str
    mapped: list[tuple[int, Vma]] = field(default_factory=list)
    opened: list[FileDescriptor] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """Where it may be opened."""
        by_mapping = [path for pid, vma in self.mapped for path in paths_to(pid, vma)]
        return [*by_mapping, *(file.path for file in self.opened)]


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


class ObjectSearch:
    """Searches the objects in memory that guests reach, each once, and tells each guest what is in them."""

    def __init__(
        self, searcher: Searcher, segments: frozenset[Object], host_files: set[Object], backings: Backings
    ) -> None:
        self._searcher = searcher
        self._segments = segments
        self._host_files = host_files
        self._backings = backings
        self._searched: dict[Object, Pages] = {}
        self._mapped: dict[MemoryMap, list[Vma]] = {}

    def reached(self, spaces: Iterable[ProcessPages], files: Iterable[FileDescriptor]) -> list[Reachable]:
        """Return what one guest reaches by its mappings and descriptors."""
        found: dict[Object, Reachable] = {}
        for space in spaces:
            for vma in self._mapped_by(space):
                reachable = found.setdefault(vma.object, Reachable(vma.object, os.fsdecode(vma.path)))
                reachable.mapped.append((space.pid, vma))
        for file in files:
            if file.object in self._segments or file.object in self._host_files:
                continue
            if self._backings.of_file(file.pid, file.device, file.inode, file.path):
                found.setdefault(file.object, Reachable(file.object, "")).opened.append(file)
        return list(found.values())

    def _mapped_by(self, space: ProcessPages) -> list[Vma]:
        """Return the mappings of memory in a process; guests that are forked alike have the map in common."""
        found = self._mapped.get(space.map)
        if found is None:
            found = self._mapped[space.map] = [
                vma
                for vma in space.vmas
                # The guest inherited mappings of host files; nothing of a segment can be in them.
                if vma.inode
                and vma.object not in self._host_files
                and is_foreign_memory(space.pid, vma, self._segments, self._backings)
            ]
        return found

    def unanswered(self, spaces: Iterable[ProcessPages], files: Iterable[FileDescriptor]) -> list[str]:
        """Say what of `reached`, which must be called before, could not be told apart, and why."""
        silent = self._backings.unanswered
        names: dict[str, str] = {}
        if silent:
            mapped = [(os.fsdecode(vma.path), vma.device) for space in spaces for vma in space.vmas if vma.inode]
            opened = [(f"descriptor {file.number} of process {file.pid}", file.device) for file in files]
            names = {f"{name}: {silent[device]}": name for name, device in [*mapped, *opened] if device in silent}
        return list(names)

    def search(self, reachable: Reachable) -> tuple[Pages, str | None]:
        """Return the contents found in an object (with repetitions), and why not all of it could be searched, if so.

        The reason is given for the first guest that reaches it only.
        """
        reason = None
        if reachable.object not in self._searched:
            self._searched[reachable.object], reason = _search_object(self._searcher, self._backings, reachable)
        return self._searched[reachable.object], reason


def host_files(spaces: Iterable[ProcessPages]) -> set[Object]:
    """Return what the fork server maps privately: the interpreter and its libraries, which may lie on a tmpfs."""
    return {vma.object for space in spaces for vma in space.vmas if is_program_file(vma)}


def _search_object(searcher: Searcher, backings: Backings, reachable: Reachable) -> tuple[Pages, str | None]:
    descriptor = open_object(backings, reachable.paths, *reachable.object)
    if descriptor is not None:
        with ObjectMemory(descriptor) as memory:
            found = searcher.search(memory.read, memory.pages())
        return found.hits.contents, None
    if not reachable.mapped:
        return np.zeros(0, np.int64), "it cannot be opened by this user"
    return _search_mapped(searcher, reachable.mapped, present=not backings.answers(reachable.object[0]))


def _search_mapped(searcher: Searcher, mappings: list[tuple[int, Vma]], *, present: bool) -> tuple[Pages, str | None]:
    """Search an object where a guest has mapped it; with `present` only what is present, as more might never come."""
    contents = [np.zeros(0, np.int64)]
    for pid, vma in mappings:
        # Reading through the process's own mapping makes absent pages present, hence the limit.
        if vma.pages > _MAX_FAULTED_PAGES and not present:
            return np.concatenate(contents), f"its mapping of {vma.pages} pages cannot be opened by this user"
        with ProcessMemory(pid) as memory:
            pages = _present_pages(pid, vma) if present else np.arange(vma.start, vma.end, PAGE_SIZE) >> PAGE_SHIFT
            found = searcher.search(memory.read, pages)
        contents.append(found.hits.contents)
        lost = len(found.unreadable) + vma.pages - len(pages)
        if lost:
            return np.concatenate(contents), f"{lost} of its pages cannot be read"
    return np.concatenate(contents), None


def _present_pages(pid: int, vma: Vma) -> Pages:
    with Pagemap(pid) as pagemap:
        runs = pagemap.populated(vma.start >> PAGE_SHIFT, vma.pages)
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(first, first + count) for first, count in runs)])
