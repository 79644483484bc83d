"""Patterns of absolute host paths: *, ? and [...] within a name, ** for any number of directories.

Unlike a shell's, wildcards match names that begin with a dot too. A ** does not walk through symbolic links; a link
that a name or a wildcard before a slash matches is followed, as a shell does.
"""

import fnmatch
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from dcss.errors import ImageError

_MAGIC = re.compile(r"[*?\[]")


@dataclass(slots=True)
class Matches:
    """What a pattern matched: `paths` of all but directories, in no order; `notes` list what could not be read."""

    paths: set[str] = field(default_factory=set)
    directories: int = 0
    notes: list[str] = field(default_factory=list)


def match_pattern(pattern: str) -> Matches:
    """Return what `pattern` matches on this host. Raises ImageError where it is not an absolute path."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not pattern.startswith("/") or ".." in parts or not parts:
        raise ImageError(f"pattern {pattern}: wanted the absolute path of files, without ..")
    if parts[-1] == "**":
        parts.append("*")
    walk = _PatternSearch(parts)
    walk.run()
    return walk.matches


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
            self.matches.directories += 1
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
                self.matches.directories += 1
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
