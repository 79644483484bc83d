"""Patterns of absolute host paths: *, ? and [...] within a name, ** for any number of directories.

Unlike a shell's, wildcards match names that begin with a dot too. A ** does not walk through symbolic links; a link
that a name or a wildcard before a slash matches is followed, as a shell does.
"""

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dcss.errors import ImageError

_MAGIC = re.compile(r"[*?\[]")


@dataclass(slots=True)
class Matches:
    """What a pattern matched: `paths` of all but directories, in no order; `notes` list what could not be read."""

    paths: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def match_pattern(pattern: str) -> Matches:
    """Return what `pattern` matches on this host. Raises ImageError where it is not an absolute path."""
    walk = _PatternSearch(_parts(pattern))
    walk.run()
    return walk.matches


class PathPattern:
    """A pattern to test absolute paths with, without looking at any file system."""

    def __init__(self, pattern: str) -> None:
        """Raise ImageError where `pattern` is not an absolute path."""
        self.text = pattern
        self._tests = _tests(_parts(pattern))
        # By directory, the numbers of the parts that may come next.
        self._next: dict[str, frozenset[int]] = {"": self._closed({0})}

    def matches(self, path: str) -> bool:
        """Return True if the pattern matches the whole path."""
        return len(self._tests) in self._behind(path)

    def covers(self, path: str) -> bool:
        """Return True if the pattern matches the path, or a directory that it lies in."""
        while path:
            if self.matches(path):
                return True
            path = path.rpartition("/")[0]
        return False

    def _behind(self, path: str) -> frozenset[int]:
        known = self._next.get(path)
        if known is None:
            directory, _, name = path.rpartition("/")
            known = self._next[path] = self._step(self._behind(directory), name)
        return known

    def _step(self, before: frozenset[int], name: str) -> frozenset[int]:
        after = set()
        for number in before:
            if number == len(self._tests):
                continue
            test = self._tests[number]
            if test is None:
                after.add(number)
            elif test(name):
                after.add(number + 1)
        return self._closed(after)

    def _closed(self, numbers: set[int]) -> frozenset[int]:
        """Return `numbers` with the parts that follow a **, which stands for no directory at all too."""
        pending = list(numbers)
        while pending:
            number = pending.pop()
            if number < len(self._tests) and self._tests[number] is None and number + 1 not in numbers:
                numbers.add(number + 1)
                pending.append(number + 1)
        return frozenset(numbers)


class Exclusion:
    """Patterns of paths that are left out, with all that lies below them."""

    def __init__(self, patterns: Iterable[PathPattern]) -> None:
        self._patterns = tuple(patterns)
        self._used: set[str] = set()

    def covers(self, path: str) -> bool:
        """Return True if a pattern covers the absolute path."""
        covering = [pattern.text for pattern in self._patterns if pattern.covers(path)]
        self._used.update(covering)
        return bool(covering)

    def unused(self) -> list[str]:
        """Return the patterns that have left nothing out."""
        return [pattern.text for pattern in self._patterns if pattern.text not in self._used]


def _tests(parts: Sequence[str]) -> list[Callable[[str], object] | None]:
    """Return a test for each part; None for **."""
    return [None if part == "**" else re.compile(fnmatch.translate(part)).match for part in parts]


def _parts(pattern: str) -> list[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not pattern.startswith("/") or ".." in parts or not parts:
        raise ImageError("wanted the absolute path of files, without ..")
    if parts[-1] == "**":
        parts.append("*")
    return parts


class _PatternSearch:
    """The search for one pattern. A step is a directory and the number of the part to match in it."""

    def __init__(self, parts: list[str]) -> None:
        self.matches = Matches()
        self._parts = parts
        self._tests: list[Callable[[str], object] | None] = [
            re.compile(fnmatch.translate(part)).match if part != "**" and _MAGIC.search(part) else None
            for part in parts
        ]
        self._steps = [("", 0)]
        self._seen: set[tuple[str, int]] = set()
        self._listed: tuple[str, list[os.DirEntry[str]]] | None = None  # the last listing: ** and what follows share it

    def run(self) -> None:
        while self._steps:
            step = self._steps.pop()
            if step in self._seen:  # **/** reaches a directory in several ways
                continue
            self._seen.add(step)
            directory, number = step
            part, test = self._parts[number], self._tests[number]
            if part == "**":
                inner = [entry.path for entry in self._list(directory) if entry.is_dir(follow_symlinks=False)]
                self._steps.extend((path, number) for path in inner)
                self._steps.append((directory, number + 1))
            elif test is None:
                self._name(f"{directory}/{part}", number)
            else:
                self._wildcard(directory, number, test)

    def _name(self, path: str, number: int) -> None:
        if number + 1 < len(self._parts):
            self._steps.append((path, number + 1))
            return
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.matches.notes.append(f"{path} cannot be looked at: {error.strerror}")
            return
        matches = self.matches.directories if stat.S_ISDIR(found.st_mode) else self.matches.paths
        matches.add(path)

    def _wildcard(self, directory: str, number: int, test: Callable[[str], object]) -> None:
        last = number + 1 == len(self._parts)
        for entry in self._list(directory):
            if not test(entry.name):
                continue
            if not last:
                if entry.is_dir():
                    self._steps.append((entry.path, number + 1))
            elif entry.is_dir(follow_symlinks=False):
                self.matches.directories.add(entry.path)
            else:
                self.matches.paths.add(entry.path)

    def _list(self, directory: str) -> list["os.DirEntry[str]"]:
        if self._listed is not None and self._listed[0] == directory:
            return self._listed[1]
        try:
            with os.scandir(directory or "/") as found:
                entries = list(found)
        except (FileNotFoundError, NotADirectoryError):
            entries = []
        except OSError as error:
            self.matches.notes.append(f"{directory} cannot be listed, nothing in it was matched: {error.strerror}")
            entries = []
        self._listed = (directory, entries)
        return entries
