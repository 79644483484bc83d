"""One look at all processes of a system: small facts for each claim, while the page tables themselves are dropped."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.account.maps import Vma
from dcss.account.pagemap import Entries, Flags, Pages, frames_of, is_file, is_present
from dcss.account.proc import ProcessGoneError, family
from dcss.account.space import AddressSpace, Object, ObjectPages, cut
from dcss.account.targets import AddressRange, GuestTarget, SystemTarget
from dcss.errors import LaunchError, MeasurementDeniedError
from dcss.verify.evidence import Evidence
from dcss.verify.segment_view import SegmentView


@dataclass(slots=True, eq=False)
class SegmentPages:
    """One segment in one guest: for each page of the segment whether it is mapped at user level, and what was found.

    `proved`: present and the frame that CP has. `wrong`: another frame, or no longer the segment's page.
    `strange` pairs a wrong page with the frame found; `device_wrong` counts such pages below the window.
    """

    mapped: Flags
    proved: Flags
    wrong: Flags
    strange: list[tuple[Pages, Entries]] = field(default_factory=list)
    device_pages: int = 0
    device_wrong: int = 0

    @classmethod
    def of(cls, pages: int) -> "SegmentPages":
        """Return a sight of a segment of `pages` pages in which nothing is mapped."""
        return cls(np.zeros(pages, np.bool_), np.zeros(pages, np.bool_), np.zeros(pages, np.bool_))


@dataclass(slots=True, eq=False)
class GuestView:
    """One guest: its processes, each segment, mappings in its ranges that no segment backs, what is left of its memory.

    `denied` is why its books could not be read.
    """

    target: GuestTarget
    pids: tuple[int, ...]
    segments: list[SegmentPages]
    foreign_mappings: list[Vma] = field(default_factory=list)
    outside_window: list[Vma] = field(default_factory=list)
    spaces: list[AddressSpace] = field(default_factory=list)
    denied: str | None = None


@dataclass(slots=True, eq=False)
class Snapshot:
    """All processes of a system, CP first.

    `cp_entries` are the pagemap entries of CP's own mappings; `pte_counts` says for each segment page how many
    page-table entries of the system hold CP's frame, `seen` which pages any process has present.
    """

    cp_entries: list[Entries]
    pte_counts: list[Pages]
    seen: list[Flags]
    guests: list[GuestView] = field(default_factory=list)
    other_spaces: list[AddressSpace] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)


class Observer:
    """Looks at a system as often as it takes for its books to settle."""

    def __init__(self, system: SystemTarget, segments: Sequence[SegmentView], *, frames: bool) -> None:
        self.system = system
        self.segments = segments
        self.frames = frames
        self._objects: dict[Object, int] = {segment.object: i for i, segment in enumerate(segments)}

    def look(self, evidence: Evidence | None) -> Snapshot:
        """Read every process once. Raises LaunchError where one has ended, MeasurementDeniedError for CP's books."""
        for segment in self.segments:
            segment.touch()
        # CP has much memory of its own that is nobody's business here.
        cp = AddressSpace.read(self.system.cp_pid, self._objects)
        snapshot = Snapshot(
            [segment.cp_entries(cp) for segment in self.segments],
            [np.zeros(segment.pages, np.int64) for segment in self.segments],
            [np.zeros(segment.pages, np.bool_) for segment in self.segments],
        )
        if evidence is not None:
            evidence.segments(self.segments, snapshot.cp_entries)
        self._count(snapshot, cp, evidence, "cp")
        for pid in self.system.other_pids:
            space = AddressSpace.read(pid)
            self._count(snapshot, space, evidence, "other")
            snapshot.other_spaces.append(space.without(self._objects))
        for guest in self.system.guests:
            snapshot.guests.append(self._guest(snapshot, guest, evidence))
        return snapshot

    def _guest(self, snapshot: Snapshot, guest: GuestTarget, evidence: Evidence | None) -> GuestView:
        sight = GuestView(guest, family(guest.pids), [SegmentPages.of(segment.pages) for segment in self.segments])
        if not sight.pids:
            raise LaunchError(f"guest {guest.name}: found no process of it, wanted one that runs")
        for pid in sight.pids:
            try:
                space = AddressSpace.read(pid)
            except MeasurementDeniedError as error:
                sight.denied = str(error)
                continue
            except ProcessGoneError:
                if pid in guest.pids:
                    raise
                continue  # a child that it had forked
            user_vmas = self._mappings(sight, space)
            if evidence is not None:
                evidence.foreign_mappings(guest.name, space.pid, sight.foreign_mappings)
            found = self._count(snapshot, space, evidence, guest.name)
            for index, segment in enumerate(self.segments):
                _cover(sight.segments[index].mapped, [vma for vma in user_vmas if vma.object == segment.object])
                self._judge(sight, index, found[index], snapshot.cp_entries[index])
            sight.spaces.append(space.without(self._objects))
        return sight

    def _mappings(self, sight: GuestView, space: AddressSpace) -> list[Vma]:
        """Return the segments' mappings in the user area; record foreign mappings, and those outside the window."""
        window, user_area = sight.target.window, sight.target.user_area
        user: list[Vma] = []
        for vma in space.vmas:
            if not vma.inode:
                continue
            in_user_area = user_area.overlaps(vma.start, vma.end)
            if vma.object in self._objects:
                if in_user_area:
                    # A mapping may reach over the border of the area.
                    user.append(cut(vma, user_area))
                if not window.overlaps(vma.start, vma.end):
                    sight.outside_window.append(vma)
            elif in_user_area or window.overlaps(vma.start, vma.end):
                sight.foreign_mappings.append(vma)
        return user

    def _count(
        self, snapshot: Snapshot, space: AddressSpace, evidence: Evidence | None, role: str
    ) -> list[ObjectPages]:
        """Count the entries of one process for every segment, and return them."""
        snapshot.pids.append(space.pid)
        found = []
        for index, segment in enumerate(self.segments):
            vmas = space.vmas_of(segment.object)
            here = _inside(space.of_vmas(vmas), segment.pages)
            found.append(here)
            holds = self._holds(here.entries, snapshot.cp_entries[index][here.object_pages])
            # Any mapping of the object counts, wherever it lies and whatever for.
            snapshot.pte_counts[index] += np.bincount(here.object_pages[holds], minlength=segment.pages)
            snapshot.seen[index][here.object_pages[holds]] = True
            if evidence is not None:
                evidence.mappings(space, role, segment, vmas)
        return found

    def _judge(self, sight: GuestView, index: int, found: ObjectPages, cp_entries: Entries) -> None:
        segment, seen = self.segments[index], sight.segments[index]
        holds = self._holds(found.entries, cp_entries[found.object_pages])
        user = _within(found.pages, sight.target.user_area)
        seen.proved[found.object_pages[user & holds]] = True
        wrong = user & ~holds
        # A page may be mapped twice, once rightly: it is wrong all the same.
        seen.wrong[found.object_pages[wrong]] = True
        if wrong.any():
            seen.strange.append((found.object_pages[wrong], frames_of(found.entries[wrong])))
        device = _within(found.pages, sight.target.window) & is_present(found.entries)
        if segment.target.type.exclusive or segment.target.shm_name in sight.target.non_shared:
            device &= is_file(found.entries)  # pages that the guest wrote are its own, by type or access mode
        seen.device_pages += int(np.count_nonzero(device))
        seen.device_wrong += int(np.count_nonzero(device & ~holds))

    def _holds(self, entries: Entries, cp_entries: Entries) -> Flags:
        """Say which entries hold the segment's page: by frame or, where frames are hidden, as a page of the object."""
        holds = is_present(entries) & is_file(entries)
        if self.frames:
            holds &= is_present(cp_entries) & (frames_of(entries) == frames_of(cp_entries))
        return holds


def _inside(found: ObjectPages, segment_pages: int) -> ObjectPages:
    inside = found.object_pages < segment_pages  # a mapping may be longer than its object
    if inside.all():
        return found
    return ObjectPages(found.pages[inside], found.object_pages[inside], found.entries[inside])


def _within(pages: Pages, addresses: AddressRange) -> Flags:
    within: Flags = (pages >= addresses.start >> PAGE_SHIFT) & (pages < addresses.end >> PAGE_SHIFT)
    return within


def _cover(mapped: Flags, vmas: list[Vma]) -> None:
    """Mark the segment pages that `vmas` span, present or not."""
    firsts = np.array([vma.offset_bytes >> PAGE_SHIFT for vma in vmas], np.int64)
    lasts = firsts + np.array([vma.pages for vma in vmas], np.int64)
    # Up where a mapping begins, down where it ends: the sum says how many lie over a page.
    steps = np.zeros(len(mapped) + 1, np.int64)
    np.add.at(steps, np.minimum(firsts, len(mapped)), 1)
    np.add.at(steps, np.minimum(lasts, len(mapped)), -1)
    mapped |= np.cumsum(steps[:-1]) > 0
