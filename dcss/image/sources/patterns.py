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
from glob import escape
from typing import NamedTuple, Self

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
    (found,) = match_patterns([pattern])
    if isinstance(found, ImageError):
        raise found
    return found


def match_patterns(patterns: Sequence[str]) -> list[Matches | ImageError]:
    """Return what each pattern matches on this host, or what is wrong with it; a directory is listed once for all."""
    found: list[Matches | ImageError] = []
    searches: list[_Search] = []
    for pattern in patterns:
        try:
            searches.append(_Search.of(pattern))
            found.append(searches[-1].matches)
        except ImageError as error:
            found.append(error)
    _Walk(searches).run()
    return found


def literal_pattern(path: bytes) -> str:
    """Return the pattern that matches this path alone; of bytes that are no text, each is any character."""
    return "".join("?" if 0xDC80 <= ord(character) <= 0xDCFF else character for character in escape(os.fsdecode(path)))


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


class _Search(NamedTuple):
    """The search for one pattern: its parts, for each part with wildcards a test of names, and what was found."""

    parts: list[str]
    tests: Sequence[Callable[[str], object] | None]
    matches: Matches

    @classmethod
    def of(cls, pattern: str) -> Self:
        """Begin a search. Raises ImageError where `pattern` is not an absolute path."""
        parts = _parts(pattern)
        tests = [
            re.compile(fnmatch.translate(part)).match if part != "**" and _MAGIC.search(part) else None
            for part in parts
        ]
        return cls(parts, tests, Matches())


_Step = tuple[_Search, int]  # the number of the part to match in a directory


class _Walk:
    """Goes through directories for some searches at once. All steps into a directory come from the one it lies in."""

    def __init__(self, searches: Iterable[_Search]) -> None:
        self._steps: dict[str, list[_Step]] = {"": [(search, 0) for search in searches]}  # by directories to come

    def run(self) -> None:
        while self._steps:
            directory, steps = self._steps.popitem()
            _Directory(directory, self._steps).take(steps)


class _Directory:
    """One directory, listed when the first step wants that; `coming` gets the steps into those that lie in it."""

    def __init__(self, path: str, coming: dict[str, list[_Step]]) -> None:
        self._path, self._coming = path, coming
        self._entries: list[os.DirEntry[str]] | None = None
        self._inner: list[str] | None = None
        self._note = ""  # why it cannot be listed
        self._noted: set[int] = set()  # the searches that have the note

    def take(self, steps: list[_Step]) -> None:
        """Take all steps, and those in this directory that follow from them."""
        seen: set[tuple[int, int]] = set()
        while steps:
            search, number = step = steps.pop()
            if (id(search), number) in seen:  # **/** comes to a part in several ways
                continue
            seen.add((id(search), number))
            part, test = search.parts[number], search.tests[number]
            if part == "**":
                for path in self._directories(search):
                    self._come(path, step)
                steps.append((search, number + 1))
            elif test is None:
                self._name(f"{self._path}/{part}", step)
            else:
                self._wildcard(test, step)

    def _come(self, path: str, step: _Step) -> None:
        self._coming.setdefault(path, []).append(step)

    def _name(self, path: str, step: _Step) -> None:
        search, number = step
        if number + 1 < len(search.parts):
            self._come(path, (search, number + 1))
            return
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            search.matches.notes.append(f"{path} cannot be looked at: {error.strerror}")
            return
        (search.matches.directories if stat.S_ISDIR(found.st_mode) else search.matches.paths).add(path)

    def _wildcard(self, test: Callable[[str], object], step: _Step) -> None:
        search, number = step
        last = number + 1 == len(search.parts)
        for entry in self._list(search):
            if not test(entry.name):
                continue
            if not last:
                if entry.is_dir():
                    self._come(entry.path, (search, number + 1))
            elif entry.is_dir(follow_symlinks=False):
                search.matches.directories.add(entry.path)
            else:
                search.matches.paths.add(entry.path)

    def _directories(self, search: _Search) -> list[str]:
        entries = self._list(search)
        if self._inner is None:
            self._inner = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        return self._inner

    def _list(self, search: _Search) -> list["os.DirEntry[str]"]:
        if self._entries is None:
            self._entries = []
            try:
                with os.scandir(self._path or "/") as found:
                    self._entries = list(found)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                self._note = f"{self._path} cannot be listed, nothing in it was matched: {error.strerror}"
        if self._note and id(search) not in self._noted:
            self._noted.add(id(search))
            search.matches.notes.append(self._note)
        return self._entries
