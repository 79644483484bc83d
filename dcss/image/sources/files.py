"""`files:`: files of this host that keep their absolute path, with the links and directories that lead to them."""

import os
import posixpath
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dcss.config.sources import FilesSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree, TreeDirectory, TreeNode, default_directory, walk
from dcss.image.problems import PatternProblem, PatternsError
from dcss.image.sources.host import host_error, read_attributes, read_node
from dcss.image.sources.patterns import Exclusion, Matches, PathPattern, match_patterns

_NOTES_SHOWN: Final = 3  # of what could not be looked at, in a message
_MAX_LINKS: Final = 40  # as the kernel's MAXSYMLINKS


class Resolved(NamedTuple):
    """A resolved path: the symbolic links on the way and the final file, each by its path without links."""

    path: bytes
    found: os.stat_result
    links: tuple[bytes, ...]


def read_files(source: FilesSource) -> Tree:
    """Return the files that `source.patterns` match, under their own paths without links, and every link on the way.

    Raises PatternsError for patterns without a match and for dangling links, ImageError for a file that cannot be read,
    and for too few files.
    """
    search = search_files(source)
    kept, left_out = _choose(source, search)
    _check_readable(source, search, kept)
    matched = {pattern: len(paths) for pattern, paths in zip(source.patterns, search.matched, strict=True)}
    return Tree(_plant(kept), left_out, search.notes, matched)


class FoundFiles(NamedTuple):
    """What the patterns match: for each file reached, the ways to it; `matched` has the files of each pattern."""

    reached: dict[bytes, list[Resolved]]
    matched: list[set[bytes]]
    notes: list[str]


def search_files(source: FilesSource) -> FoundFiles:
    """Return the files that `source` names, libraries included. Raises PatternsError."""
    found = FoundFiles({}, [], [])
    problems: list[PatternProblem] = []
    resolver = _Resolver()
    exclusion = _exclusion(source.exclude, problems)
    for number, (pattern, matches) in enumerate(zip(source.patterns, match_patterns(source.patterns), strict=True)):
        if isinstance(matches, ImageError):
            message: str | None = str(matches)
        else:
            message = _OnePattern(matches, resolver, exclusion, found).add()
        if message is not None:
            problems.append(PatternProblem("files", number, f"pattern {pattern}: {message}"))
    if problems:
        raise PatternsError(problems)
    found.notes.extend(f"exclude: pattern {pattern} leaves nothing out" for pattern in exclusion.unused())
    if source.with_libraries:
        _add_libraries(found, resolver, exclusion)
    return found


def _exclusion(patterns: Sequence[str], problems: list[PatternProblem]) -> Exclusion:
    usable = []
    for number, pattern in enumerate(patterns):
        try:
            usable.append(PathPattern(pattern))
        except ImageError as error:
            problems.append(PatternProblem("exclude", number, f"pattern {pattern}: {error}"))
    return Exclusion(usable)


class _OnePattern:
    """Adds what one pattern matches to the files found."""

    def __init__(self, matches: Matches, resolver: "_Resolver", exclusion: Exclusion, found: FoundFiles) -> None:
        self._matches = matches
        self._resolver, self._exclusion, self._found = resolver, exclusion, found
        self._dangling: list[str] = []

    def add(self) -> str | None:
        """Add the files, and return what is wrong with the pattern."""
        matches = self._matches
        if not matches.paths:
            return _nothing(matches)
        self._found.notes.extend(matches.notes)
        files = {os.fsencode(path) for path in matches.paths if not self._exclusion.covers(path)}
        self._found.matched.append({path for each in sorted(files) if (path := self._reach(each)) is not None})
        if not files:
            return f"exclude: leaves out all {len(matches.paths)} files that it matches, wanted at least one"
        if self._dangling:
            more = f" (and {len(self._dangling) - 1} more links like it)" if len(self._dangling) > 1 else ""
            return f"{self._dangling[0]}{more}"
        return None

    def _reach(self, path: bytes) -> bytes | None:
        """Add a file and the links to it; return its path without links, or None where it is left out."""
        try:
            resolved = self._resolver.resolve(path)
        except ImageError as error:
            self._dangling.append(str(error))
            return None
        if self._exclusion.covers(os.fsdecode(resolved.path)):
            self._found.notes.append(f"{os.fsdecode(path)} is left out with {os.fsdecode(resolved.path)}, its target")
            return None
        self._found.reached.setdefault(resolved.path, []).append(resolved)
        return resolved.path


def _nothing(matches: Matches) -> str:
    """Return what is wrong with a pattern that matches no file."""
    if not matches.directories:
        unseen = "".join(f"; {note}" for note in matches.notes[:_NOTES_SHOWN])
        return f"matches nothing on this machine, wanted at least one file{unseen}"
    first = min(matches.directories)
    only = f"the directory {first}" if len(matches.directories) == 1 else f"{len(matches.directories)} directories"
    return f"matches only {only} on this machine, wanted at least one file; for all that lies in it, write {first}/**"


def _add_libraries(found: FoundFiles, resolver: "_Resolver", exclusion: Exclusion) -> None:
    """Add the libraries that the files found need, and the program interpreters, as ld.so finds them."""
    # Imported when used: most images do without.
    from dcss.image.sources.libraries import LibrarySearch

    search = LibrarySearch()
    for path in search.needed(sorted(found.reached)):
        if exclusion.covers(os.fsdecode(path)):
            continue
        resolved = resolver.resolve(path)
        if not exclusion.covers(os.fsdecode(resolved.path)):
            found.reached.setdefault(resolved.path, []).append(resolved)
    found.notes.extend(search.notes)


def _choose(source: FilesSource, search: FoundFiles) -> tuple[list[Resolved], int]:
    """Return what fits into `max_bytes`, and how many regular files do not.

    What an earlier pattern matches goes in first, in the order of paths; libraries that were added go in last.
    """
    reached = search.reached
    order = {path: number for number in reversed(range(len(search.matched))) for path in search.matched[number]}
    taken: dict[tuple[int, int], bool] = {}
    total_bytes = left_out = 0
    for path in sorted(reached, key=lambda path: (order.get(path, len(order)), path)):
        found = reached[path][0].found
        key = _identity(reached[path])
        if stat.S_ISREG(found.st_mode) and key not in taken:
            taken[key] = source.max_bytes is None or total_bytes + found.st_size <= source.max_bytes
            total_bytes += found.st_size * taken[key]
            left_out += not taken[key]
    kept = [way for path in sorted(reached) if taken.get(_identity(reached[path]), True) for way in reached[path]]
    files = sum(taken.values())
    if files < source.min_files or total_bytes < source.min_bytes:
        raise ImageError(
            f"patterns {' '.join(source.patterns)}: found {files} files of {total_bytes} bytes"
            f"{f' ({left_out} left out by the limit of {source.max_bytes} bytes)' if left_out else ''}, "
            f"wanted at least {source.min_files} files of {source.min_bytes} bytes; name more of this machine's files"
        )
    return kept, left_out


def _check_readable(source: FilesSource, search: FoundFiles, kept: Sequence[Resolved]) -> None:
    """Raise PatternsError for files that this user may not read, each with the first pattern that matches it."""
    denied = [one.path for one in kept if stat.S_ISREG(one.found.st_mode) and not os.access(one.path, os.R_OK)]
    problems = []
    for number, pattern in enumerate(source.patterns):
        paths = sorted(path for path in set(denied) if path in search.matched[number])
        if paths:
            more = f" (and {len(paths) - 1} more files)" if len(paths) > 1 else ""
            message = f"pattern {pattern}: {os.fsdecode(paths[0])} cannot be read: Permission denied{more}; exclude it"
            problems.append(PatternProblem("files", number, message))
            denied = [path for path in denied if path not in search.matched[number]]
    if problems:
        raise PatternsError(problems)


def _identity(ways: list[Resolved]) -> tuple[int, int]:
    return ways[0].found.st_dev, ways[0].found.st_ino


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

    def resolve(self, path: bytes) -> Resolved:
        """Resolve `path`, which is absolute and without "..". Raises ImageError where a link leads nowhere."""
        parent, links = self._directory(posixpath.dirname(path))
        return self._follow(parent, [posixpath.basename(path)], list(links), path)

    def _directory(self, path: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        known = self._directories.get(path)
        if known is None:
            resolved = self._follow(b"/", path.split(b"/"), [], path)
            known = self._directories[path] = (resolved.path, resolved.links)
        return known

    def _follow(self, base: bytes, parts: list[bytes], links: list[bytes], start: bytes) -> Resolved:
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
            found = _found(inner, start, links)
            if not stat.S_ISLNK(found.st_mode):
                here = inner
                continue
            followed += 1
            if followed > _MAX_LINKS:
                raise ImageError(f"{os.fsdecode(start)} leads through more than {_MAX_LINKS} links")
            links.append(inner)
            target = os.readlink(inner)  # noqa: PTH115 - a Path holds no bytes
            here = b"/" if target.startswith(b"/") else here
            pending += target.split(b"/")[::-1]
            found = None
        return Resolved(here, found or os.lstat(here), tuple(dict.fromkeys(links)))


def _found(path: bytes, start: bytes, links: list[bytes]) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        through = f" through the link {os.fsdecode(links[-1])}" if links else ""
        raise ImageError(f"{os.fsdecode(start)} leads{through} to {os.fsdecode(path)}: {error.strerror}") from error
