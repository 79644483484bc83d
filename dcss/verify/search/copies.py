"""Copies found in memory, grouped for the reader: by file, by the piece of memory, and by who made them."""

import os
from typing import Final

import numpy as np

from dcss.account.maps import Vma
from dcss.account.pagemap import Flags, Pages
from dcss.account.space import ProcessPages
from dcss.account.targets import GuestTarget, Origin
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.results import Copies
from dcss.verify.search.searcher import Hits
from dcss.verify.search.shared_objects import Reachable
from dcss.verify.segment_view import NO_FILE

_ORIGINS: Final[tuple[Origin, ...]] = ("kernel", "modules", "engine", "program", "process")


def holder_name(guest: GuestTarget | None) -> str:
    """Return what reports call the owner of a process; None is the fork server."""
    return "the fork server" if guest is None else guest.label


def copies_in_process(
    contents: Contents,
    guest: GuestTarget | None,
    space: ProcessPages,
    hits: Hits,
    *,
    engine: Flags,
    merged: Flags | None = None,
) -> list[Copies]:
    """Group the hits in one process by file, mapping and origin.

    `engine` says which the engine's own files explain, `merged` which lie in frames that KSM has merged.
    """
    if not len(hits.addresses):
        return []
    vmas = np.searchsorted([vma.start for vma in space.vmas], hits.addresses, side="right") - 1
    # One heap may be several mappings to the kernel, and is one place to the reader.
    distinct, which = np.unique(vmas, return_inverse=True)
    described = [_describe(space, space.vmas[vma]) for vma in distinct.tolist()]
    names = sorted(set(described))
    kind_of = np.array([names.index(name) for name in described])[which]
    keys = np.stack((*_files_of(contents, hits.contents), kind_of, _origins(guest, hits.addresses, engine)))
    groups, group_of = np.unique(keys, axis=1, return_inverse=True)
    found = []
    for index, (place, volume, file, kind, origin) in enumerate(groups.T.tolist()):
        mine = group_of.reshape(-1) == index
        where = f"{names[kind]} at {int(hits.addresses[mine].min()):#x}"
        pages = len(np.unique(hits.contents[mine]))
        name_and_path = _names(contents, place, volume, file)
        merged_pages = None if merged is None else len(np.unique(hits.contents[mine & merged]))
        found.append(Copies(holder_name(guest), _ORIGINS[origin], *name_and_path, pages, where, merged_pages))
    return found


def copies_in_object(contents: Contents, guest: GuestTarget, reachable: Reachable, hits: Pages) -> list[Copies]:
    """Group the contents found in an object that a guest reaches, by file; where in the object does not matter."""
    origin = guest.own_origin
    if reachable.mapped:
        _, vma = reachable.mapped[0]
        origin = guest.origin_of(vma.start)
        where = f"shared memory {reachable.name} at {vma.start:#x}"
    elif len(hits):
        held = reachable.opened[0]
        where = f"{held.target}, held open as descriptor {held.number} and not mapped"
    else:
        return []
    return _by_file(contents, guest, origin, where, hits)


def copies_in_detached(contents: Contents, guest: GuestTarget, number: int, hits: Pages) -> list[Copies]:
    """Group the contents found in a System V segment that nobody has attached, by file."""
    return _by_file(contents, guest, guest.own_origin, f"System V segment {number}, which nobody has attached", hits)


def _by_file(contents: Contents, guest: GuestTarget, origin: Origin, where: str, hits: Pages) -> list[Copies]:
    if not len(hits):
        return []
    distinct = np.unique(hits)
    groups, group_of = np.unique(np.stack(_files_of(contents, distinct)), axis=1, return_inverse=True)
    return [
        Copies(
            holder_name(guest),
            origin,
            *_names(contents, place, volume, file),
            int(np.count_nonzero(group_of.reshape(-1) == index)),
            where,
        )
        for index, (place, volume, file) in enumerate(groups.T.tolist())
    ]


def _names(contents: Contents, place: int, volume: int, file: int) -> tuple[str, str | None]:
    if file == NO_FILE:
        return contents.segments[place].name, None
    published = contents.volumes[volume]
    return published.segments_of(file), published.files.paths[file]


def _files_of(contents: Contents, found: Pages) -> tuple[Pages, Pages, Pages]:
    """Return segment, file system and file of each content, by the page that names it.

    A file over several segments has one group, so the segment is that of the file system's first one.
    """
    segments, pages = contents.segment[found], contents.page[found]
    places, volumes, files = segments.copy(), np.zeros(len(found), np.int64), np.full(len(found), NO_FILE)
    for index, volume in enumerate(contents.volumes):
        for place, first_page in zip(volume.places, volume.first_pages, strict=True):
            mine = segments == place
            volumes[mine] = index
            files[mine] = volume.files.owner[pages[mine] + first_page]
            places[mine & (files != NO_FILE)] = volume.places[0]
            files[mine & contents.segments[place].own_pages[np.where(mine, pages, 0)]] = NO_FILE
    return places, volumes, files


def _origins(guest: GuestTarget | None, addresses: Pages, engine: Flags) -> Pages:
    origins = np.full(len(addresses), _ORIGINS.index("kernel" if guest is None else guest.own_origin))
    # The first range that holds an address counts, so it is written last.
    for where, origin in reversed(guest.origins if guest is not None else ()):
        origins[(addresses >= where.start) & (addresses < where.end)] = _ORIGINS.index(origin)
    origins[engine] = _ORIGINS.index("engine")
    return origins


def _describe(space: ProcessPages, vma: Vma) -> str:
    name = os.fsdecode(vma.path)
    if vma.inode:
        return f"a written private mapping of {name}"
    hidden = " without access (PROT_NONE)" if vma.permissions.startswith("---") else ""
    return f"private memory{f' {name}' if name else ''}{hidden} of process {space.pid}"
