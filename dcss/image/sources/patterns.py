"""Patterns of absolute host paths: *, ? and [...] within a name, ** for any number of directories.

Unlike a shell's, wildcards match names that begin with a dot too. A ** does not walk through symbolic links; a link
that a name or a wildcard before a slash matches is followed, as a shell does.
"""

import fnmatch
import os
import re
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


class Exclusion:
    """Patterns of paths that are left out, with all that lies below them."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raise ImageError where a pattern is not an absolute path."""
        self._used: set[str] = set()
        self._patterns = [(pattern, _tests(_parts(pattern))) for pattern in patterns]
        self._steps: list[dict[str, frozenset[int]]] = [{"": _begin(tests)} for _, tests in self._patterns]

    def unused(self) -> list[str]:
        """Return the patterns that have left nothing out."""
        return [pattern for pattern, _ in self._patterns if pattern not in self._used]

    def covers(self, path: str) -> bool:
        """Return True if a pattern matches the absolute path, or a directory that it lies in."""
        covered = False
        for (pattern, tests), steps in zip(self._patterns, self._steps, strict=True):
            if len(tests) in self._reached(path, tests, steps):
                self._used.add(pattern)
                covered = True
        return covered

    def _reached(self, path: str, tests: "_Tests", steps: dict[str, frozenset[int]]) -> frozenset[int]:
        """Return the parts that may come next behind `path`; those of directories are kept in `steps`."""
        known = steps.get(path)
        if known is None:
            directory, _, name = path.rpartition("/")
            before = self._reached(directory, tests, steps)
            known = steps[path] = _step(tests, before, name) if len(tests) not in before else before
        return known


_Tests = Sequence[Callable[[str], object] | None]  # None for **


def _begin(tests: _Tests) -> frozenset[int]:
    return _closed(tests, {0})


def _step(tests: _Tests, before: frozenset[int], name: str) -> frozenset[int]:
    after = set()
    for number in before:
        test = tests[number]
        if test is None:
            after.add(number)
        elif test(name):
            after.add(number + 1)
    return _closed(tests, after)


def _closed(tests: _Tests, numbers: set[int]) -> frozenset[int]:
    """Return `numbers` with the parts that follow a **, which matches no directory at all too."""
    for number in sorted(numbers):
        while number < len(tests) and tests[number] is None:
            number += 1  # noqa: PLW2901 - several ** in a row
            numbers.add(number)
    return frozenset(numbers)


def _tests(parts: Sequence[str]) -> _Tests:
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
        elif os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - paths stay as they were given
            self.matches.directories.add(path)
        elif os.path.lexists(path):
            self.matches.paths.add(path)

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
