"""`files:`: files of this host that keep their absolute path, with the links and directories that lead to them."""

import os
import posixpath
import stat
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dcss.config.plan import FilesSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree, TreeDirectory, TreeNode, default_directory, walk
from dcss.image.sources.host import host_error, read_attributes, read_node
from dcss.image.sources.patterns import match_pattern

_MAX_LINKS: Final = 40  # as the kernel's MAXSYMLINKS


class Resolved(NamedTuple):
    """A resolved path: the symbolic links on the way and the final file, each by its path without links."""

    path: bytes
    found: os.stat_result
    links: tuple[bytes, ...]


def read_files(source: FilesSource) -> Tree:
    """Return the files that `source.patterns` match, under their own paths without links, and every link on the way.

    Raises ImageError for a pattern without a match, a dangling link, a file that cannot be read, and too few files.
    """
    notes: list[str] = []
    reached: dict[bytes, list[Resolved]] = {}
    resolver = _Resolver()
    for pattern in source.patterns:
        matches = match_pattern(pattern)
        notes += matches.notes
        if not matches.paths:
            only = f"only {matches.directories} directories" if matches.directories else "nothing"
            raise ImageError(f"pattern {pattern}: matches {only} on this machine, wanted at least one file")
        for path in matches.paths:
            resolved = resolver.resolve(os.fsencode(path), pattern)
            reached.setdefault(resolved.path, []).append(resolved)
    kept, left_out = _choose(source, reached)
    return Tree(_plant(kept), left_out, notes)


def _choose(source: FilesSource, reached: dict[bytes, list[Resolved]]) -> tuple[list[Resolved], int]:
    """Return what fits into `max_bytes`, smallest path first, and how many regular files do not."""
    kept: list[Resolved] = []
    taken: dict[tuple[int, int], bool] = {}
    total_bytes = left_out = 0
    for path in sorted(reached):
        found = reached[path][0].found
        if stat.S_ISREG(found.st_mode):
            key = (found.st_dev, found.st_ino)
            if key not in taken:
                taken[key] = source.max_bytes is None or total_bytes + found.st_size <= source.max_bytes
                total_bytes += found.st_size * taken[key]
                left_out += not taken[key]
            if not taken[key]:
                continue
        kept += reached[path]
    files = sum(taken.values())
    if files < source.min_files or total_bytes < source.min_bytes:
        raise ImageError(
            f"patterns {' '.join(source.patterns)}: found {files} files of {total_bytes} bytes"
            f"{f' ({left_out} left out by the limit of {source.max_bytes} bytes)' if left_out else ''}, "
            f"wanted at least {source.min_files} files of {source.min_bytes} bytes; name more of this machine's files"
        )
    return kept, left_out


def _plant(kept: list[Resolved]) -> TreeDirectory:
    planting = _Planting()
    for resolved in kept:
        for link in resolved.links:
            planting.add(link)
        planting.add(resolved.path)
    # A directory gets the newest time of what lies in it: the host's changes with files that are not in the image.
    for _, directory in reversed(list(walk(planting.root))):
        newest = max((node.attributes.mtime_s for node in directory.entries.values()), default=0)
        directory.attributes = directory.attributes._replace(mtime_s=newest)
    return planting.root


@dataclass(slots=True)
class _Planting:
    """A tree being built: nodes by their path without links, and files by inode for hard links."""

    root: TreeDirectory = field(default_factory=default_directory)
    nodes: dict[bytes, TreeNode] = field(default_factory=dict)
    linked: dict[tuple[int, int], TreeNode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root.attributes = read_attributes(b"/", os.lstat(b"/"))
        self.nodes[b"/"] = self.root

    def add(self, path: bytes) -> TreeNode:
        node = self.nodes.get(path)
        if node is not None:
            return node
        parent = self.add(posixpath.dirname(path))
        if not isinstance(parent, TreeDirectory):
            raise ImageError(f"{os.fsdecode(path)} changed while it was looked at; build the image again")
        try:
            found = os.lstat(path)
        except OSError as error:
            raise host_error(path, "cannot be looked at", error) from error
        key = (found.st_dev, found.st_ino)
        node = self.linked.get(key) if found.st_nlink > 1 else None
        if node is None or stat.S_ISDIR(found.st_mode):
            node = read_node(path, found)
        if found.st_nlink > 1 and not isinstance(node, TreeDirectory):
            self.linked[key] = node
        parent.entries[posixpath.basename(path)] = self.nodes[path] = node
        return node


class _Resolver:
    """Follows symbolic links as the kernel does, and caches resolved directories."""

    def __init__(self) -> None:
        self._directories: dict[bytes, tuple[bytes, tuple[bytes, ...]]] = {b"/": (b"/", ())}

    def resolve(self, path: bytes, pattern: str) -> Resolved:
        """Resolve `path`, which is absolute and without "..". Raises ImageError that names `pattern`."""
        parent, links = self._directory(posixpath.dirname(path), pattern)
        return self._follow(parent, [posixpath.basename(path)], list(links), path, pattern)

    def _directory(self, path: bytes, pattern: str) -> tuple[bytes, tuple[bytes, ...]]:
        known = self._directories.get(path)
        if known is None:
            resolved = self._follow(b"/", path.split(b"/"), [], path, pattern)
            known = self._directories[path] = (resolved.path, resolved.links)
        return known

    def _follow(self, base: bytes, parts: list[bytes], links: list[bytes], start: bytes, pattern: str) -> Resolved:
        here, pending, followed = base, parts[::-1], 0
        found = None
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                here, found = posixpath.dirname(here), None
                continue
            inner = posixpath.join(here, part)
            found = _found(inner, start, links, pattern)
            if not stat.S_ISLNK(found.st_mode):
                here = inner
                continue
            followed += 1
            if followed > _MAX_LINKS:
                raise ImageError(f"pattern {pattern}: {os.fsdecode(start)} leads through more than {_MAX_LINKS} links")
            links.append(inner)
            target = os.readlink(inner)  # noqa: PTH115 - a Path holds no bytes
            here = b"/" if target.startswith(b"/") else here
            pending += target.split(b"/")[::-1]
            found = None
        return Resolved(here, found or os.lstat(here), tuple(dict.fromkeys(links)))


def _found(path: bytes, start: bytes, links: list[bytes], pattern: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        through = f" through the link {os.fsdecode(links[-1])}" if links else ""
        raise ImageError(
            f"pattern {pattern}: {os.fsdecode(start)} leads{through} to {os.fsdecode(path)}: {error.strerror}"
        ) from error
