"""A snapshot of a system: small facts about every process for the claims, while the page tables themselves are dropped.

It is filled in two steps: page tables are read with all guests held still, then each guest's memory is searched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.abi.pagemap import PM_FILE, PM_PFRAME_MASK, PM_PRESENT
from dcss.account.maps import Vma
from dcss.account.memory_map import MappingGroup, MemoryMap, cut
from dcss.account.pagemap import Entries, Flags, Pages, frames_of, is_file, is_present
from dcss.account.scan import GuestReading
from dcss.account.space import ObjectPages, ProcessPages
from dcss.account.targets import GUESTS, AddressRange, GuestTarget, SystemTarget, Terms
from dcss.verify.evidence import EvidenceFile
from dcss.verify.private_pages import PrivatePages, private_pages
from dcss.verify.search.results import SearchResult
from dcss.verify.segment_view import SegmentView
from dcss.verify.volumes import VolumeView, volumes_of
from dcss.verify.writable import WritableMapping, writable_mappings

_KEPT_LAYOUTS = 32


@dataclass(slots=True, eq=False)
class SegmentPages:
    """One segment in one guest: for each page of the segment whether it is mapped at user level, and what was found.

    `proved`: present and the frame that CP has. `wrong`: another frame, or no longer the segment's page.
    `strange` pairs a wrong page with the frame found; `device_wrong` counts such pages below the window. With `by_page`
    a page is mapped where the guest uses it, and not because another one of its file is.
    """

    mapped: Flags
    proved: Flags
    wrong: Flags
    strange: list[tuple[Pages, Entries]] = field(default_factory=list)
    device_pages: int = 0
    device_wrong: int = 0
    by_page: bool = False

    @classmethod
    def of(cls, pages: int, *, by_page: bool = False) -> "SegmentPages":
        """Return a segment of `pages` pages of which nothing is mapped."""
        mapped, proved, wrong = (np.zeros(pages, np.bool_) for _ in range(3))
        return cls(mapped, proved, wrong, by_page=by_page)

    @classmethod
    def joined(cls, parts: Sequence["SegmentPages"]) -> "SegmentPages":
        """Return the pages of several segments as one row, for the files of a file system that lies over them."""
        if len(parts) == 1:
            return parts[0]
        first_pages = np.cumsum([0, *(len(part.mapped) for part in parts)])[:-1].tolist()
        return cls(
            np.concatenate([part.mapped for part in parts]),
            np.concatenate([part.proved for part in parts]),
            np.concatenate([part.wrong for part in parts]),
            [
                (pages + first_page, frames)
                for part, first_page in zip(parts, first_pages, strict=True)
                for pages, frames in part.strange
            ],
            by_page=any(part.by_page for part in parts),
        )


@dataclass(slots=True, eq=False)
class GuestView:
    """One guest: its processes, each segment in it, and mappings that are out of place.

    `foreign_mappings` lie in its ranges and are backed by no segment; `outside_window` are a segment's. `intruders` are
    private pages in the user area, where nothing but pages of files may stand. `private_loads` are the places of the
    segments of which it gets its own copy of what it writes. Guests in which a segment looks alike
    have one SegmentPages in common. `denied` is why its books could not be read.
    """

    target: GuestTarget
    pids: tuple[int, ...]
    denied: str | None
    segments: list[SegmentPages]
    foreign_mappings: list[Vma] = field(default_factory=list)
    outside_window: list[Vma] = field(default_factory=list)
    intruders: list[PrivatePages] = field(default_factory=list)
    private_loads: set[int] = field(default_factory=set)
    writable_mappings: list[WritableMapping] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Snapshot:
    """All processes of a system, CP first.

    `volumes` are the file systems on the segments. `frames` says whether frame numbers are shown. `cp_entries` are the
    pagemap entries of CP's own mappings; `pte_counts` says for each segment page how many page-table entries of the
    system hold CP's frame, `seen` which pages any process has present. `search` is there once the memory of guests was
    searched.
    """

    frames: bool
    segments: list[SegmentView]
    cp_entries: list[Entries]
    pte_counts: list[Pages]
    seen: list[Flags]
    guests: list[GuestView] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    search: SearchResult = field(default_factory=SearchResult)
    terms: Terms = GUESTS
    volumes: list[VolumeView] = field(init=False)

    def __post_init__(self) -> None:
        self.volumes = volumes_of(self.segments)

    @property
    def sharing(self) -> list[GuestView]:
        """The guests that should share."""
        return [guest for guest in self.guests if guest.target.expect == "shared"]

    @property
    def denied(self) -> list[str]:
        """Why the books of some guests could not be read."""
        return denied_reasons(self.guests)


def denied_reasons(guests: Sequence[GuestView]) -> list[str]:
    """Say for each of `guests` whose books are closed why that is."""
    return [f"{guest.target.label}: {guest.denied}" for guest in guests if guest.denied is not None]


class _Layout(NamedTuple):
    """What follows from a guest's mappings alone; guests that are forked alike have it in common."""

    groups: list[MappingGroup]
    mapped: list[Flags]
    foreign_mappings: list[Vma]
    outside_window: list[Vma]


class SnapshotBuilder:
    """Takes a snapshot of what it is shown, CP's own mappings first."""

    def __init__(
        self,
        system: SystemTarget,
        segments: list[SegmentView],
        *,
        frames: bool,
        evidence: EvidenceFile | None,
        populated: bool = False,
    ) -> None:
        """Begin with CP's own mappings, of which every page is made present unless all that matter are `populated`."""
        for segment in segments if not populated else ():
            segment.populate()
        self._segments = segments
        self._objects = {segment.object: index for index, segment in enumerate(segments)}
        self._evidence = evidence
        # Guests are forked from few processes, and look much alike.
        self._layout = lru_cache(_KEPT_LAYOUTS)(self._find_layout)
        self._known_pages: dict[tuple[object, ...], SegmentPages] = {}
        # CP has much memory of its own that is nobody's business here.
        cp = ProcessPages.read(system.cp_pid, frozenset(self._objects))
        cp_entries = [segment.cp_entries(cp) for segment in segments]
        self._mask, self._wanted = _wanted_entries(cp_entries, frames=frames)
        self.snapshot = Snapshot(
            frames,
            segments,
            cp_entries,
            [np.zeros(segment.pages, np.int64) for segment in segments],
            [np.zeros(segment.pages, np.bool_) for segment in segments],
            terms=system.terms,
        )
        if evidence is not None:
            evidence.begin(segments, cp_entries)
        self._count(cp, None, "cp")

    def add_other(self, space: ProcessPages) -> None:
        """Count the entries of a process that is neither CP nor a guest."""
        self._count(space, None, "other")

    def add_guest(self, reading: GuestReading) -> None:
        """Look at each segment in one guest."""
        target = reading.guest
        view = GuestView(
            target,
            reading.pids,
            reading.denied,
            [SegmentPages.of(segment.pages, by_page=target.in_place) for segment in self._segments],
        )
        if reading.denied is not None and self._evidence is not None:
            self._evidence.denied(target.name, reading.denied)
        for space in reading.spaces:
            layout = self._layout(space.map, target.window, target.user_area)
            found = self._count(space, target)
            if not target.standalone:
                self._look_for_strangers(view, space, layout, [pages for pages, _ in found])
            for index, segment in enumerate(self._segments):
                if not (target.standalone and target.in_place):
                    view.segments[index].mapped |= layout.mapped[index]
                if target.loads_privately(segment.target) and layout.groups[index].vmas:
                    view.private_loads.add(index)
                self._judge(view, index, *found[index])
                view.writable_mappings += writable_mappings(space.pid, segment.name, layout.groups[index])
        view.segments = [self._known(index, pages) for index, pages in enumerate(view.segments)]
        self.snapshot.guests.append(view)

    def _look_for_strangers(
        self, view: GuestView, space: ProcessPages, layout: _Layout, found: list[ObjectPages]
    ) -> None:
        """Note what lies in the guest's ranges where pages of segments should; `found` are the segments' pages."""
        target = view.target
        # What a disk is mapped for is no copy of a segment, but a baseline should copy that too.
        foreign = [v for v in layout.foreign_mappings if target.expect == "copies" or v.object not in target.disks]
        view.foreign_mappings += foreign
        view.outside_window += layout.outside_window
        if self._evidence is not None:
            self._evidence.foreign_mappings(target.name, space.pid, foreign)
        view.intruders += self._intruders(space, target, found)

    def _intruders(self, space: ProcessPages, target: GuestTarget, found: list[ObjectPages]) -> list[PrivatePages]:
        """Return the private pages in a guest's user area; `found` are the pages of the segments' mappings."""
        area = target.user_area
        of_segments = sum(_between(each.pages, area) for each in found)
        if of_segments == _between(space.pages, area):
            return []  # as it should be, and cheap to see for each of a thousand guests
        intruders = private_pages(space, target, frames=self.snapshot.frames)
        if self._evidence is not None:
            self._evidence.intruders(target.name, space.pid, intruders)
        return intruders

    def _find_layout(self, found: MemoryMap, window: AddressRange, user_area: AddressRange) -> _Layout:
        user: list[list[Vma]] = [[] for _ in self._segments]
        foreign: list[Vma] = []
        outside: list[Vma] = []
        for vma in found.vmas:
            if not vma.inode:
                continue
            in_user_area = user_area.overlaps(vma.start, vma.end)
            index = self._objects.get(vma.object)
            if index is not None:
                if in_user_area:
                    # A mapping may reach over the border of the area.
                    user[index].append(cut(vma, user_area))
                if not window.overlaps(vma.start, vma.end):
                    outside.append(vma)
            elif in_user_area or window.overlaps(vma.start, vma.end):
                foreign.append(vma)
        groups = [found.of_object(segment.object) for segment in self._segments]
        mapped = [_covered(segment.pages, vmas) for segment, vmas in zip(self._segments, user, strict=True)]
        return _Layout(groups, mapped, foreign, outside)

    def _count(self, space: ProcessPages, guest: GuestTarget | None, role: str = "") -> list[tuple[ObjectPages, Flags]]:
        """Count the entries of one process for every segment; return them, and which hold the segment's page.

        `role` is whose process it is if it is no guest's.
        """
        snapshot = self.snapshot
        snapshot.pids.append(space.pid)
        counted = []
        for index, segment in enumerate(self._segments):
            group = space.map.of_object(segment.object)
            found = _inside(space.of_group(group), segment.pages)
            if guest is not None and guest.standalone:
                found = self._comparable(index, found)
            # By frame or, where frames are hidden, as a page of the object.
            holds: Flags = (found.entries & self._mask) == self._wanted[index][found.object_pages]
            counted.append((found, holds))
            held_pages = found.object_pages if holds.all() else found.object_pages[holds]
            # Any mapping of the object counts, wherever it lies and whatever for.
            snapshot.pte_counts[index] += np.bincount(held_pages, minlength=segment.pages)
            snapshot.seen[index][held_pages] = True
            if self._evidence is not None:
                self._evidence.mappings(space.pid, role if guest is None else guest.name, segment, group, found)
        return counted

    def _comparable(self, index: int, found: ObjectPages) -> ObjectPages:
        """Return the pages that are the object's, and that CP's mapping has: a page that was written is another one."""
        entries = found.entries
        kept = is_present(entries) & is_file(entries) & is_present(self.snapshot.cp_entries[index])[found.object_pages]
        return found if kept.all() else ObjectPages(found.pages[kept], found.object_pages[kept], entries[kept])

    def _judge(self, view: GuestView, index: int, found: ObjectPages, holds: Flags) -> None:
        segment, pages = self._segments[index], view.segments[index]
        device = _within(found.pages, view.target.window) & is_present(found.entries)
        if view.target.loads_privately(segment.target):
            device &= is_file(found.entries)  # pages that the guest wrote are its own, by type or access mode
        user = _within(found.pages, view.target.user_area)
        if view.target.in_place:
            user |= device
            in_use = user if view.target.standalone else device
            pages.mapped[found.object_pages[in_use]] = True
        pages.proved[found.object_pages[user & holds]] = True
        wrong = user & ~holds
        if wrong.any():
            # A page may be mapped twice, once rightly: it is wrong all the same.
            pages.wrong[found.object_pages[wrong]] = True
            pages.strange.append((found.object_pages[wrong], frames_of(found.entries[wrong])))
        pages.device_pages += int(np.count_nonzero(device))
        pages.device_wrong += int(np.count_nonzero(device & ~holds))

    def _known(self, index: int, pages: SegmentPages) -> SegmentPages:
        """Return the pages of an earlier guest that are the same, or else `pages`."""
        if pages.strange:
            return pages
        flags = (np.packbits(each).tobytes() for each in (pages.mapped, pages.proved, pages.wrong))
        key = (index, *flags, pages.device_pages, pages.device_wrong, pages.by_page)
        return self._known_pages.setdefault(key, pages)


def _wanted_entries(cp_entries: Sequence[Entries], *, frames: bool) -> tuple[np.uint64, list[Entries]]:
    """Return the bits that matter of an entry, and what they must be for each page of each segment."""
    held = np.uint64(PM_PRESENT | PM_FILE)
    if not frames:
        return held, [np.full(len(entries), held) for entries in cp_entries]
    mask = held | np.uint64(PM_PFRAME_MASK)
    # What CP itself has not present proves nothing: no entry looks like that.
    never = ~mask
    return mask, [np.where(is_present(entries), entries & mask | np.uint64(PM_FILE), never) for entries in cp_entries]


def _inside(found: ObjectPages, segment_pages: int) -> ObjectPages:
    inside = found.object_pages < segment_pages  # a mapping may be longer than its object
    if inside.all():
        return found
    return ObjectPages(found.pages[inside], found.object_pages[inside], found.entries[inside])


def _within(pages: Pages, addresses: AddressRange) -> Flags:
    within: Flags = (pages >= addresses.start >> PAGE_SHIFT) & (pages < addresses.end >> PAGE_SHIFT)
    return within


def _between(pages: Pages, addresses: AddressRange) -> int:
    """Count those of `pages`, which ascend, that lie in a range."""
    first, end = np.searchsorted(pages, (addresses.start >> PAGE_SHIFT, addresses.end >> PAGE_SHIFT)).tolist()
    return int(end - first)


def _covered(pages: int, vmas: list[Vma]) -> Flags:
    """Say for each of a segment's pages whether any of `vmas` spans it, present or not."""
    firsts = np.array([vma.offset_bytes >> PAGE_SHIFT for vma in vmas], np.int64)
    lasts = firsts + np.array([vma.pages for vma in vmas], np.int64)
    # Up where a mapping begins, down where it ends: the sum says how many lie over a page.
    steps = np.zeros(pages + 1, np.int64)
    np.add.at(steps, np.minimum(firsts, pages), 1)
    np.add.at(steps, np.minimum(lasts, pages), -1)
    covered: Flags = np.cumsum(steps[:-1]) > 0
    return covered
