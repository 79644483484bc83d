"""The steps of a YAML `run:` list, run at the guest's user level."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from errno import ENOENT
from fnmatch import translate
from functools import lru_cache

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.fs.open import open_dentry
from vmguest.mm_area import PROT_READ, PROT_WRITE
from vmguest.task import Task

READ_BUFFER_PAGES = 256
_WILDCARDS = re.compile(rb"[*?\[]")


def map_files(task: Task, pattern: str) -> int:
    """Map every regular file that matches, each once, and keep it mapped; return how many files that were."""
    files = 0
    with task.mm.mapped_together():
        for dentry in matches(task.vfs, pattern):
            number = task.files.install(open_dentry(task.vfs, dentry))
            try:
                if dentry.inode.size_bytes:  # 0 for a file of /proc, which has no pages
                    task.mmap(number, 0, hostmem.pages(dentry.inode.size_bytes))
            finally:
                task.files.close(number)
            files += 1
    return files


def read_files(task: Task, pattern: str) -> int:
    """Read every matching file through read(2), into a buffer that is given back; return how many bytes."""
    buffer = task.mmap(None, 0, READ_BUFFER_PAGES, PROT_READ | PROT_WRITE, shared=False)
    try:
        views = list(task.mm.views(buffer, READ_BUFFER_PAGES * PAGE_SIZE, for_write=True))
        return sum(_read_file(task, dentry, views) for dentry in matches(task.vfs, pattern))
    finally:
        task.mm.unmap(buffer, READ_BUFFER_PAGES)


def _read_file(task: Task, dentry: Dentry, views: Sequence[memoryview]) -> int:
    number = task.files.install(open_dentry(task.vfs, dentry))
    try:
        opened = task.files.get(number)
        while opened.readv(views):
            pass
        return opened.position
    finally:
        task.files.close(number)


def matches(vfs: Vfs, pattern: str) -> Iterator[Dentry]:
    """Yield the regular files that match, each once, whatever names it has."""
    seen: set[tuple[int, int]] = set()
    for dentry in glob(vfs, os.fsencode(pattern)):
        key = (id(dentry.mount.file_system), dentry.inode.number)
        if dentry.inode.is_regular and key not in seen:
            seen.add(key)
            yield dentry
    if not seen:
        raise KernelError(ENOENT, f"{pattern}: matches no regular file in this guest")


STEPS: dict[str, Callable[[Task, str], int]] = {"map": map_files, "read": read_files}


@lru_cache(1024)
def compiled(name: bytes) -> re.Pattern[str]:
    """Return the matcher of one name of a pattern. Compiling takes much memory: the fork server does it for guests."""
    return re.compile(translate(os.fsdecode(name)))


def prepare(pattern: str) -> None:
    """Compile what `glob` will need, ahead of the fork."""
    for name in os.fsencode(pattern).split(b"/"):
        if name and name != b"**":
            compiled(name)


def glob(vfs: Vfs, pattern: bytes) -> Iterator[Dentry]:
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


def _walk(vfs: Vfs, directory: Dentry, names: list[bytes], places: set[int]) -> Iterator[Dentry]:
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


def _matched(vfs: Vfs, directory: Dentry, names: list[bytes], places: set[int]) -> Iterator[tuple[Dentry, set[int]]]:
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
