"""Find the shared libraries that programs need where the dynamic loader would find them, without running anything.

The order is ld.so(8)'s: DT_RPATH of the file and of those that need it, DT_RUNPATH, the directories of /etc/ld.so.conf,
and the loader's own. Directories for one kind of processor (glibc-hwcaps) are not searched.
"""

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Final

from dcss.image.sources.elf import Dynamic, ElfDamagedError, read_dynamic
from dcss.image.sources.host import open_for_reading

_CONFIGURATION: Final = "/etc/ld.so.conf"
_MAX_INCLUDES: Final = 16
_LOADER_DIRECTORIES: Final = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/lib32", "/usr/lib32")


class LibrarySearch:
    """Finds the libraries of files; `notes` list, one line each, what was not found or not understood."""

    def __init__(self, configuration: str = _CONFIGURATION) -> None:
        self.notes: list[str] = []
        self._directories = (*_configured(Path(configuration), _MAX_INCLUDES), *_LOADER_DIRECTORIES)
        self._read: dict[bytes, Dynamic | None] = {}

    def needed(self, paths: Iterable[bytes]) -> list[bytes]:
        """Return the loader and every library that the ELF files among `paths` need, directly and indirectly."""
        found: dict[bytes, None] = {}
        missing: set[tuple[bytes, str]] = set()
        # A library is looked up for each way to it once: the RPATH of those that need it counts too.
        pending: list[tuple[bytes, tuple[str, ...]]] = [(path, ()) for path in reversed(list(paths))]
        seen = set()
        while pending:
            path, inherited = pending.pop()
            dynamic = self._dynamic(path)
            if (path, inherited) in seen or dynamic is None:
                continue
            seen.add((path, inherited))
            if dynamic.interpreter is not None and posixpath.isabs(dynamic.interpreter):
                found.setdefault(os.fsencode(dynamic.interpreter))
            rpath = inherited if dynamic.runpath else tuple(dict.fromkeys((*dynamic.rpath, *inherited)))
            for name in dynamic.needed:
                library = self._find(name, dynamic, rpath)
                if library is None:
                    missing.add((path, name))
                    continue
                found.setdefault(library)
                pending.append((library, rpath))
        self.notes += [
            f"{os.fsdecode(path)} needs {name}, which is nowhere that the loader looks"
            for path, name in sorted(missing)
        ]
        return list(found)

    def _find(self, name: str, dynamic: Dynamic, rpath: Sequence[str]) -> bytes | None:
        if "/" in name:
            candidates = [name] if posixpath.isabs(name) else []
        else:
            candidates = [posixpath.join(each, name) for each in (*rpath, *dynamic.runpath, *self._directories)]
        for candidate in map(os.fsencode, candidates):
            if os.path.isfile(candidate):  # noqa: PTH113 - a Path holds no bytes
                library = self._dynamic(candidate)
                if library is not None and library.kind == dynamic.kind:
                    return candidate
        return None

    def _dynamic(self, path: bytes) -> Dynamic | None:
        """Return what the file asks of the loader, or None where it is no ELF file of that sort."""
        if path not in self._read:
            try:
                with open(open_for_reading(path), "rb") as file:
                    self._read[path] = read_dynamic(file, os.fsdecode(posixpath.dirname(os.path.realpath(path))))
            except ElfDamagedError as error:
                self._read[path] = None
                self.notes.append(f"{os.fsdecode(path)}: its libraries are unknown: the ELF file is damaged ({error})")
        return self._read[path]


def _configured(path: Path, includes: int) -> Iterator[str]:
    """Yield the directories of ld.so.conf and of the files that it includes."""
    try:
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].split()
        if words[:1] == ["include"] and includes:
            for pattern in words[1:]:
                for name in sorted(glob(str(path.parent / pattern))):  # noqa: PTH207 - the pattern may be absolute
                    yield from _configured(Path(name), includes - 1)
        elif words and words[0] not in {"include", "hwcap"}:
            yield words[0].partition("=")[0]
