"""Do in a tree what ldconfig does in a root directory: make links for libraries' names, and /etc/ld.so.cache.

Source: glibc 2.36, elf/ldconfig.c. Libraries for one kind of processor (glibc-hwcaps) are not put into the cache: the
loader takes the plain ones in their place.
"""

import io
import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from dcss.ext2.mkfs.tree import NodeAttributes, TreeDirectory, TreeFile, TreeSymlink
from dcss.image.sources.contents import content_of, read_contents
from dcss.image.sources.debian.architectures import CACHE_FLAGS, Architecture
from dcss.image.sources.debian.loader_cache import CachedLibrary, compare_names, encode_cache
from dcss.image.sources.elf import Dynamic, ElfDamagedError, read_dynamic
from dcss.image.sources.tree_paths import directory_at, resolve

_CONFIGURATION: Final = b"/etc/ld.so.conf"
_MAX_INCLUDES: Final = 16
_GENERATOR: Final = b"dcss"
_LINK_MODE: Final = 0o120777
_LIBRARY_PREFIXES: Final = (b"lib", b"ld-", b"ld.so.", b"ld64.so.")
_TEMPORARY_SUFFIX: Final = b".#prelink#"


class LoaderSetup(NamedTuple):
    """The content of /etc/ld.so.cache, and notes on what could not be read."""

    cache: bytes
    notes: tuple[str, ...]


class _Library(NamedTuple):
    """A library of a directory: its file, the name that programs ask for, its kind, and whether it is only a link."""

    name: bytes
    soname: bytes
    flags: int
    is_link: bool


def configure_loader(root: TreeDirectory, architecture: Architecture) -> LoaderSetup:
    """Add the links to the tree, and return the cache for its loader. Raises ImageError where files cannot be read."""
    notes: list[str] = []
    libraries: list[CachedLibrary] = []
    searched = list(_searched(root, architecture.triplet))
    found = _read_libraries(root, searched, notes)
    for path, directory in searched:
        for library in _libraries(root, path, directory, found):
            if not library.is_link:
                _link(root, path, directory, library)
            libraries.append(CachedLibrary(library.soname, path + b"/" + library.soname, library.flags))
    byte_order: Literal["little", "big"] = "little" if architecture.elf.little_endian else "big"
    return LoaderSetup(encode_cache(libraries, byte_order, _GENERATOR), tuple(notes))


def _searched(root: TreeDirectory, triplet: str) -> Iterator[tuple[bytes, TreeDirectory]]:
    """Yield the directories that are searched, each once, under the first of its names."""
    built_in = [os.fsencode(f"{prefix}/{triplet}") for prefix in ("/lib", "/usr/lib")]
    seen = set()
    for path in (*_configured(root, _CONFIGURATION, _MAX_INCLUDES), *built_in, b"/lib", b"/usr/lib"):
        directory = directory_at(root, path)
        if directory is not None and directory not in seen:
            seen.add(directory)
            yield path, directory


def _configured(root: TreeDirectory, path: bytes, includes: int) -> Iterator[bytes]:
    """Yield the directories of a ld.so.conf in the tree, and of the files that it includes."""
    found = resolve(root, path)
    if found is None or not isinstance(found.node, TreeFile):
        return
    for line in content_of(found.node).splitlines():
        words = line.partition(b"#")[0].split()
        if words[:1] == [b"include"] and includes:
            for pattern in words[1:]:
                for included in _matching(root, os.path.join(os.path.dirname(path), pattern)):  # noqa: PTH118, PTH120
                    yield from _configured(root, included, includes - 1)
        elif words and words[0] not in {b"include", b"hwcap"}:
            yield words[0].partition(b"=")[0].rstrip(b"/") or b"/"


def _matching(root: TreeDirectory, pattern: bytes) -> list[bytes]:
    """Return the paths whose last part matches that of the pattern, in the order of their names."""
    parent, _, last = pattern.rpartition(b"/")
    directory = directory_at(root, parent)
    names = [] if directory is None else sorted(directory.entries)
    return [parent + b"/" + name for name in names if fnmatchcase(name, last) and not name.startswith(b".")]


def _read_libraries(
    root: TreeDirectory, searched: Iterable[tuple[bytes, TreeDirectory]], notes: list[str]
) -> dict[TreeFile, Dynamic]:
    """Return what each shared object says that may be a library by its name, and add a note for each damaged one."""
    paths: dict[TreeFile, bytes] = {}
    for path, directory in searched:
        for name in sorted(filter(_may_be_library, directory.entries)):
            found = resolve(root, path + b"/" + name)
            if found is not None and isinstance(found.node, TreeFile):
                paths.setdefault(found.node, found.path)
    libraries = {}
    for file, content in read_contents(paths):
        try:
            dynamic = read_dynamic(io.BytesIO(content), os.fsdecode(os.path.dirname(paths[file])))  # noqa: PTH120
        except ElfDamagedError as error:
            notes.append(f"{os.fsdecode(paths[file])}: left out of /etc/ld.so.cache: the ELF file is damaged ({error})")
            continue
        if dynamic is not None and dynamic.shared_object and dynamic.linked and dynamic.kind in CACHE_FLAGS:
            libraries[file] = dynamic
    return libraries


def _may_be_library(name: bytes) -> bool:
    return name.startswith(_LIBRARY_PREFIXES) and b".so" in name and not name.endswith(_TEMPORARY_SUFFIX)


def _libraries(
    root: TreeDirectory, path: bytes, directory: TreeDirectory, found: dict[TreeFile, Dynamic]
) -> list[_Library]:
    """Return the libraries of a directory: for each name that programs ask for, the newest one."""
    newest: dict[bytes, _Library] = {}
    for name in sorted(filter(_may_be_library, directory.entries)):
        library = _library(root, path, directory, name, found)
        if library is None:
            continue
        other = newest.get(library.soname)
        newer = other is None or (
            compare_names(other.name, name) < 0 if other.is_link == library.is_link else other.is_link
        )
        if newer:
            newest[library.soname] = library
    return list(newest.values())


def _library(
    root: TreeDirectory, path: bytes, directory: TreeDirectory, name: bytes, found: dict[TreeFile, Dynamic]
) -> _Library | None:
    target = resolve(root, path + b"/" + name)
    dynamic = found.get(target.node) if target is not None and isinstance(target.node, TreeFile) else None
    if dynamic is None:
        return None
    flags = CACHE_FLAGS[dynamic.kind]
    soname = name if dynamic.soname is None else os.fsencode(dynamic.soname)
    # A link stands for itself if it has the library's name, or is the shorter one that linkers use.
    if isinstance(directory.entries[name], TreeSymlink) and (
        name == soname or (name.endswith(b".so") and soname.startswith(name))
    ):
        return _Library(name, name, flags, is_link=True)
    return _Library(name, soname, flags, is_link=False)


def _link(root: TreeDirectory, path: bytes, directory: TreeDirectory, library: _Library) -> None:
    """Make the name that programs ask for lead to the library, unless it does, or a file has that name."""
    present = directory.entries.get(library.soname)
    if present is not None and not isinstance(present, TreeSymlink):
        return
    wanted = resolve(root, path + b"/" + library.name)
    current = resolve(root, path + b"/" + library.soname)
    if wanted is not None and (current is None or current.node is not wanted.node):
        mtime_s = wanted.node.attributes.mtime_s
        directory.entries[library.soname] = TreeSymlink(NodeAttributes(_LINK_MODE, 0, 0, mtime_s), library.name)
