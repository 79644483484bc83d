"""The steps of a YAML `run:` list, run at the guest's user level."""

import os
import re
from collections.abc import Callable, Iterator
from errno import ENOENT
from fnmatch import translate
from functools import lru_cache

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.mapping import UserMapping
from vmguest.fs.mount import Node
from vmguest.fs.open import OpenFile, open_node
from vmguest.fs.vfs import Vfs
from vmguest.machine import Machine

READ_BUFFER_PAGES = 256
_WILDCARDS = re.compile(rb"[*?\[]")


class Process:
    """The guest's one user process: its descriptors, what it has mapped, and its anonymous memory."""

    def __init__(self, machine: Machine, vfs: Vfs) -> None:
        self.anonymous_pages = 0
        self.descriptors = Descriptors(vfs)
        self._machine = machine
        self._vfs = vfs
        self._mapped: list[tuple[OpenFile, UserMapping | None]] = []

    @property
    def mapped_pages(self) -> int:
        """Pages of files that are mapped, holes included."""
        return sum(mapping.pages for _, mapping in self._mapped if mapping is not None)

    def map(self, pattern: str) -> int:
        """Map every regular file that matches, each once, and keep it mapped; return how many files that were."""
        files = 0
        for node in self._matches(pattern):
            number = self.descriptors.install(open_node(self._vfs, node))
            try:
                opened = self.descriptors.get(number)
                size_bytes = node.inode.size_bytes  # 0 for a file of /proc, which has no pages
                mapping = opened.file.mmap(0, hostmem.pages(size_bytes)) if size_bytes else None
                self._mapped.append((opened.hold(), mapping))
            finally:
                self.descriptors.close(number)
            files += 1
        return files

    def read(self, pattern: str) -> int:
        """Read every matching file through read(2), into a buffer that is given back; return how many bytes."""
        frame = self._machine.storage.allocate(READ_BUFFER_PAGES)
        self.anonymous_pages += READ_BUFFER_PAGES
        buffer = hostmem.view(self._machine.storage.address(frame), READ_BUFFER_PAGES * PAGE_SIZE)
        try:
            return sum(self._read_all(node, buffer) for node in self._matches(pattern))
        finally:
            self.anonymous_pages -= READ_BUFFER_PAGES
            self._machine.storage.release(frame, READ_BUFFER_PAGES)

    def _read_all(self, node: Node, buffer: memoryview) -> int:
        number = self.descriptors.install(open_node(self._vfs, node))
        try:
            opened = self.descriptors.get(number)
            while opened.read(buffer):
                pass
            return opened.position
        finally:
            self.descriptors.close(number)

    def _matches(self, pattern: str) -> Iterator[Node]:
        seen: set[tuple[int, int]] = set()
        for node in glob(self._vfs, os.fsencode(pattern)):
            key = (id(node.mount.file_system), node.inode.number)
            if node.inode.is_regular and key not in seen:
                seen.add(key)
                yield node
        if not seen:
            raise KernelError(ENOENT, f"{pattern}: matches no regular file in this guest")


STEPS: dict[str, Callable[[Process, str], int]] = {"map": Process.map, "read": Process.read}


@lru_cache(1024)
def compiled(name: bytes) -> re.Pattern[str]:
    """Return the matcher of one name of a pattern. Compiling takes much memory: the fork server does it for guests."""
    return re.compile(translate(os.fsdecode(name)))


def prepare(pattern: str) -> None:
    """Compile what `glob` will need, ahead of the fork."""
    for name in os.fsencode(pattern).split(b"/"):
        if name and name != b"**":
            compiled(name)


def glob(vfs: Vfs, pattern: bytes) -> Iterator[Node]:
    """Yield the nodes that match a pattern; `**` is any number of directories, links are not followed while walking.

    Links in the names before the first wildcard, and a pattern without one, are followed: they are one path.
    """
    names = [name for name in pattern.split(b"/") if name]
    literal = next((i for i, name in enumerate(names) if _WILDCARDS.search(name)), len(names))
    try:
        start = vfs.resolve(b"/" + b"/".join(names[:literal]))
    except KernelError as error:
        if error.errno == ENOENT:
            return
        raise
    rest = names[literal:]
    if rest and rest[-1] == b"**":
        rest.append(b"*")
    if not rest:
        yield start
    elif start.inode.is_dir:
        yield from _walk(vfs, start, rest, _reachable(rest, {0}))


def _reachable(names: list[bytes], places: set[int]) -> set[int]:
    """Add to places in a pattern those behind a `**`, which may stand for no directory at all."""
    for place in sorted(places):
        behind = place
        while behind < len(names) and names[behind] == b"**":
            behind += 1
            places.add(behind)
    return places


def _walk(vfs: Vfs, directory: Node, names: list[bytes], places: set[int]) -> Iterator[Node]:
    """Match a directory's children against every place that the pattern has reached, so each is looked at once."""
    walks = [_matched(vfs, directory, names, places)]  # one a level: a tree may be deeper than Python's stack
    while walks:
        found = next(walks[-1], None)
        if found is None:
            walks.pop()
            continue
        child, reached = found
        if len(names) in reached:
            reached.remove(len(names))
            yield child
        if reached and child.inode.is_dir:
            walks.append(_matched(vfs, child, names, reached))


def _matched(vfs: Vfs, directory: Node, names: list[bytes], places: set[int]) -> Iterator[tuple[Node, set[int]]]:
    """Yield each child that matches at one of the `places`, and the places in the pattern that it reaches."""
    matchers = [(place, None if names[place] == b"**" else compiled(names[place]).match) for place in places]
    for child in vfs.children(directory):
        is_dir = child.inode.is_dir
        name = os.fsdecode(child.name)
        reached = set()
        for place, matches in matchers:
            if matches is None:
                if is_dir:
                    reached.add(place)
            elif matches(name):
                reached.add(place + 1)
        if reached:
            yield child, _reachable(names, reached)
