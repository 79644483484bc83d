"""Claim 2, no-hidden-copies: no guest that shares keeps a page of a segment in memory of its own."""

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.account.maps import Vma
from dcss.account.pagemap import Pages
from dcss.account.space import AddressSpace
from dcss.account.targets import GuestTarget, Origin
from dcss.errors import MeasurementDeniedError
from dcss.results import Claim
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.process_memory import Searchable
from dcss.verify.search.searcher import Found, Hits, Searcher
from dcss.verify.search.shared_objects import Reachable, search_reachable
from dcss.verify.segment_view import NO_FILE
from dcss.verify.snapshot import GuestView
from dcss.verify.wording import count, first_few

NAME: Final = "no-hidden-copies"
_ORIGINS: Final[tuple[Origin, ...]] = ("kernel", "engine", "program")


class Copies(NamedTuple):
    """Pages of one file (or of none) found in one piece of memory of one guest; `address` is the lowest."""

    holder: str
    origin: Origin
    segment: str
    path: str | None
    pages: int
    where: str

    def __str__(self) -> str:
        file = "file system metadata" if self.path is None else self.path
        return f"{self.holder} ({self.origin}): {count(self.pages, 'page')} of {self.segment}:{file} in {self.where}"


class Process(NamedTuple):
    """One process that was searched: whose it is (None: the fork server's) and what was found in it."""

    guest: GuestTarget | None
    searched: Searchable
    found: Found | MeasurementDeniedError


def judge_no_copies(
    searcher: Searcher, guests: list[GuestView], processes: list[Process], objects: Iterable[Reachable]
) -> tuple[Claim, list[Copies]]:
    """Judge the claim from the search of private memory, and search what shared memory the guests reach."""
    targets = {guest.target.name: guest.target for guest in guests}
    unsearched = [f"guest {guest.target.name}: {guest.denied}" for guest in guests if guest.denied is not None]
    copies: list[Copies] = []
    searched_pages = 0
    for process in processes:
        holder = _holder(process.guest)
        if isinstance(process.found, MeasurementDeniedError):
            unsearched.append(f"{holder}: {process.found}")
            continue
        searched_pages += len(process.searched.pages)
        copies += _in_process(searcher.contents, process, process.found.hits)
        if lost := len(process.found.unreadable):
            address = int(process.found.unreadable[0]) << PAGE_SHIFT
            unsearched.append(f"{holder}: {count(lost, 'page')} from {address:#x} on cannot be read")
    for reachable in objects:
        contents, reason = search_reachable(searcher, reachable)
        copies += _in_object(searcher.contents, reachable, contents, targets)
        if reason is not None:
            unsearched.append(f"guest {reachable.guests[0]}: {reachable.name or 'an open file'}: {reason}")
    # A claim about nothing is not true.
    if not guests:
        unsearched.append("no guest shares, so there is none to search")
    if not len(searcher.contents):
        unsearched.append("no segment has a page that could be told from others")
    return _claim(copies, unsearched, count(searched_pages, "private page"), count(len(guests), "guest")), copies


def _claim(copies: list[Copies], unsearched: list[str], pages: str, guests: str) -> Claim:
    refuting = [str(copy) for copy in copies if copy.origin == "kernel"]
    if refuting:
        return Claim(NAME, False, first_few(refuting))
    if unsearched:
        return Claim(NAME, None, f"not all memory could be searched: {first_few(unsearched)}")
    listed = [str(copy) for copy in copies]
    also = f"; not the guest kernels' own: {first_few(listed)}" if listed else ""
    what = f"{pages} of {guests} and the fork server: none holds a page of a segment, at any byte offset"
    return Claim(NAME, True, what + also)


def _holder(guest: GuestTarget | None) -> str:
    return "the fork server" if guest is None else f"guest {guest.name}"


def _in_process(contents: Contents, process: Process, hits: Hits) -> list[Copies]:
    """Group hits by file, mapping and origin."""
    if not len(hits.addresses):
        return []
    space = process.searched.space
    vmas = np.searchsorted([vma.start for vma in space.vmas], hits.addresses, side="right") - 1
    # One heap may be several mappings to the kernel, and is one place to the reader.
    distinct, which = np.unique(vmas, return_inverse=True)
    described = [_describe(space, space.vmas[vma]) for vma in distinct.tolist()]
    names = sorted(set(described))
    kind_of = np.array([names.index(name) for name in described])[which]
    keys = np.stack((*_files_of(contents, hits.contents), kind_of, _origins(process.guest, hits.addresses)))
    groups, group_of = np.unique(keys, axis=1, return_inverse=True)
    found = []
    for index, (segment, file, kind, origin) in enumerate(groups.T.tolist()):
        mine = group_of.reshape(-1) == index
        where = f"{names[kind]} at {int(hits.addresses[mine].min()):#x}"
        pages = len(np.unique(hits.contents[mine]))
        found.append(Copies(_holder(process.guest), _ORIGINS[origin], *_names(contents, segment, file), pages, where))
    return found


def _in_object(contents: Contents, reachable: Reachable, hits: Pages, targets: dict[str, GuestTarget]) -> list[Copies]:
    found = []
    # Where in the object a page lies does not matter: it is one copy for all who reach it.
    distinct = np.unique(hits)
    groups, group_of = np.unique(np.stack(_files_of(contents, distinct)), axis=1, return_inverse=True)
    for guest in reachable.guests if len(distinct) else ():
        origin: Origin = "kernel"
        if guest in reachable.mapped:
            _, vma = reachable.mapped[guest][0]
            origin = targets[guest].origin_of(vma.start)
            where = f"shared memory {reachable.name} at {vma.start:#x}"
        else:
            file_held = reachable.opened[guest]
            where = f"{file_held.target}, held open as descriptor {file_held.number} and not mapped"
        for index, (segment, file) in enumerate(groups.T.tolist()):
            pages = int(np.count_nonzero(group_of.reshape(-1) == index))
            found.append(Copies(f"guest {guest}", origin, *_names(contents, segment, file), pages, where))
    return found


def _names(contents: Contents, segment: int, file: int) -> tuple[str, str | None]:
    published = contents.segments[segment]
    return published.name, None if file == NO_FILE else published.files.paths[file]


def _files_of(contents: Contents, found: Pages) -> tuple[Pages, Pages]:
    """Return segment and file of each content, by the page that names it."""
    segments, pages = contents.segment[found], contents.page[found]
    files = np.full(len(found), NO_FILE)
    for index, segment in enumerate(contents.segments):
        mine = segments == index
        files[mine] = segment.files.owner[pages[mine]]
    return segments, files


def _origins(guest: GuestTarget | None, addresses: Pages) -> Pages:
    origins = np.full(len(addresses), _ORIGINS.index("kernel"))
    # The first range that holds an address counts, so it is written last.
    for where, origin in reversed(guest.origins if guest is not None else ()):
        origins[(addresses >= where.start) & (addresses < where.end)] = _ORIGINS.index(origin)
    return origins


def _describe(space: AddressSpace, vma: Vma) -> str:
    name = os.fsdecode(vma.path)
    if vma.inode:
        return f"a written private mapping of {name}"
    hidden = " without access (PROT_NONE)" if vma.permissions.startswith("---") else ""
    return f"private memory{f' {name}' if name else ''}{hidden} of process {space.pid}"
