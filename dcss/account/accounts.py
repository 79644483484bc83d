"""The accounts of a system: for each guest what it instantiated and what it costs this machine, and the totals."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.frames import FrameSet, hidden_because, map_counts
from dcss.account.huge import huge_bytes
from dcss.account.machine import free_memory_bytes
from dcss.account.own_processes import own_processes
from dcss.account.pagemap import Entries, Flags, frames_of, is_exclusive, is_file, is_present
from dcss.account.proc import ProcessGoneError
from dcss.account.scan import GuestReading, ended_processes_named, hold_system, not_held, scan
from dcss.account.smaps import read_rollup, read_status
from dcss.account.space import ProcessPages
from dcss.account.targets import GuestTarget, Object, SegmentTarget, StatedCounters, SystemTarget
from dcss.account.totals import SharingSum
from dcss.errors import LaunchError, MeasurementDeniedError
from dcss.host.provenance import provenance
from dcss.results import GuestAccount, GuestCounters, HostCosts, MachineMemory, MeasureResult, SegmentAccount, Totals

_PAGE_TABLES, _RESIDENT = frozenset({b"VmPTE"}), frozenset({b"Rss", b"Pss"})


class _Candidates(NamedTuple):
    """Frames that may be a guest's alone: its page-table entries for each must be all that the kernel counts."""

    frames: Entries
    entries: Entries


@dataclass(slots=True)
class _GuestRow:
    """What was seen of one guest; `candidates` are counted once all guests have been seen."""

    guest: GuestTarget
    pids: tuple[int, ...]
    host: HostCosts
    xip_bytes: int | None = None
    written_bytes: int | None = None
    mapped_bytes: int | None = None
    exclusive_pages: int = 0
    candidates: _Candidates | None = None
    limits: list[str] = field(default_factory=list)


class GuestSeen(NamedTuple):
    """What the books said of one guest: which pages of all segments it uses (None: not shown), and what it loaded."""

    row: _GuestRow
    mapped: Flags | None
    loaded: tuple[int, ...]


class Accounts:
    """Collects the accounts of the guests that are shown to it.

    `guest_counters` holds page cache, buffer and anonymous bytes as each guest kernel states them, by guest name, or
    why an engine has none, or None where nobody does; guests without an entry are left out. `segment_users` says how
    many guests have loaded a segment, by its name. `hidden` is why frames cannot be seen, if so. `huge` is what
    `huge_of_segments` returned, if that is known.
    """

    def __init__(
        self,
        system: SystemTarget,
        guest_counters: Mapping[str, StatedCounters | str | None],
        segment_users: Mapping[str, int],
        *,
        hidden: str | None,
        huge: Mapping[int, int | None] | None = None,
    ) -> None:
        self._system = system
        self._counters = guest_counters
        self._users = segment_users
        self._hidden, self._huge = hidden, huge
        self._first_pages = _first_pages(system.segments)
        self._objects = frozenset(self._first_pages)
        self._segment_pages = sum(segment.pages for segment in system.segments)
        self._other_frames = FrameSet()
        self._rows: list[_GuestRow] = []
        self._sharing = SharingSum([segment.pages for segment in system.segments])
        self._all_visible = True  # of the guests that share
        self._use_known = True

    def add_other(self, space: ProcessPages) -> None:
        """Note the frames that the fork server maps: these are no guest's alone."""
        self._other_frames.add(frames_of(space.entries))

    def add_guest(self, reading: GuestReading) -> None:
        """Account for one guest."""
        if reading.guest.name in self._counters:
            self.add(self.look_at(reading))

    def look_at(self, reading: GuestReading) -> GuestSeen:
        """Return what the books say of one guest; `add` accounts for it, here or in later accounts of the system."""
        row = self._host_costs(reading)
        if reading.denied is not None or row.limits:
            row.host = replace(row.host, rss_bytes=None, pss_bytes=None)
            row.limits = row.limits or [reading.denied or ""]
            return GuestSeen(row, None, ())
        mapped = np.zeros(self._segment_pages, np.bool_)
        # What is present where a segment lies may be there since its neighbours are: which of it programs have in their
        # page tables, the guest says.
        user = np.zeros_like(mapped) if reading.guest.in_place else mapped
        written_pages = sum(self._mark_mapped(mapped, user, space, reading.guest) for space in reading.spaces)
        row.written_bytes = written_pages * PAGE_SIZE
        row.mapped_bytes = int(np.count_nonzero(mapped)) * PAGE_SIZE
        row.xip_bytes = int(np.count_nonzero(user)) * PAGE_SIZE
        self._note_own_frames(row, reading.spaces)
        return GuestSeen(row, mapped, tuple(self._loaded(reading.spaces)))

    def add(self, seen: GuestSeen) -> None:
        """Account for one guest that was looked at."""
        self._rows.append(replace(seen.row, limits=list(seen.row.limits)))
        sharing = seen.row.guest.expect == "shared"
        if seen.mapped is None:
            self._all_visible &= not sharing
            self._use_known = False
        elif sharing:
            self._sharing.add(seen.mapped, seen.loaded)
        else:
            self._sharing.note_use(seen.mapped)

    def result(self, limits: list[str], free_before_bytes: int | None) -> MeasureResult:
        """Return the accounts of all guests shown so far; `limits` come before those found here."""
        accounts = self._guest_accounts()
        segments = self._segment_accounts()
        found = [f"{row.guest.label}: {limit}" for row in self._rows for limit in row.limits]
        return MeasureResult(
            self._system.name,
            tuple(accounts),
            segments,
            # A sum over some of the guests would look like a sum over all.
            self._sharing.totals([segment.resident_bytes for segment in segments])
            if self._all_visible
            else Totals(None, None, None),
            None if free_before_bytes is None else MachineMemory(free_before_bytes, free_memory_bytes()),
            tuple(dict.fromkeys([*limits, *found])),
            own_processes(self._system),
            provenance(),
        )

    def _segment_accounts(self) -> tuple[SegmentAccount, ...]:
        accounts = []
        huge = self._huge
        if huge is None:
            huge = huge_of_segments(self._system)
        for segment, used_bytes in zip(self._system.segments, self._sharing.used_bytes(), strict=True):
            resident_bytes = segment.resident_bytes
            if resident_bytes is None:
                # The kernel counts an object's pages in blocks of 512 bytes.
                resident_bytes = os.fstat(segment.descriptor).st_blocks * 512
            accounts.append(
                SegmentAccount(
                    segment.name,
                    segment.shm_name,
                    segment.size_bytes,
                    resident_bytes,
                    max(resident_bytes - used_bytes, 0) if self._use_known else None,
                    self._users.get(segment.name, 0),
                    huge[segment.address],
                )
            )
        return tuple(accounts)

    def _loaded(self, spaces: tuple[ProcessPages, ...]) -> list[int]:
        """Return the numbers of the segments that processes have mapped anywhere."""
        return [
            index
            for index, wanted in enumerate(self._first_pages)
            if any(space.map.of_object(wanted).vmas for space in spaces)
        ]

    def count_own_frames(self) -> None:
        """Look up how often the kernel says that frames are mapped; guests must stand still until this is done."""
        rows = [row for row in self._rows if row.candidates is not None and row.host.uss_bytes is None]
        if not rows:
            return
        counted = map_counts(np.concatenate([row.candidates.frames for row in rows if row.candidates is not None]))
        done = 0
        for row in rows:
            assert row.candidates is not None
            mine = counted[done : done + len(row.candidates.frames)]
            done += len(mine)
            pages = row.exclusive_pages + int(np.count_nonzero(mine == row.candidates.entries))
            row.host = replace(row.host, uss_bytes=pages * PAGE_SIZE)
            row.candidates = None

    def _host_costs(self, reading: GuestReading) -> _GuestRow:
        """Add up what the kernel says of each process; one walk by the kernel for a whole process."""
        rss_bytes = pss_bytes = page_table_bytes = 0
        limits: list[str] = []
        for pid in reading.pids:
            try:
                page_table_bytes += read_status(pid, _PAGE_TABLES).get("VmPTE", 0)
                rollup = read_rollup(pid, _RESIDENT)
                rss_bytes += rollup["Rss"]
                pss_bytes += rollup["Pss"]
            except MeasurementDeniedError as error:
                limits.append(str(error))
            except ProcessGoneError:
                if pid in reading.guest.pids:
                    raise
        return _GuestRow(
            reading.guest, reading.pids, HostCosts(rss_bytes, pss_bytes, None, page_table_bytes), limits=limits
        )

    def _mark_mapped(self, mapped: Flags, user: Flags, space: ProcessPages, guest: GuestTarget) -> int:
        """Mark the segment pages that a process uses in place, and return how many it has copied by writing.

        `user` gets those at user addresses alone, and those of segments that are loaded privately.
        """
        written_pages = 0
        for segment, (wanted, first_page) in zip(self._system.segments, self._first_pages.items(), strict=True):
            # A file of a segment that is loaded privately is used where the segment lies, not at a user address.
            private = guest.loads_privately(segment)
            areas = [guest.window] if private or guest.in_place else []
            areas += [] if private else [guest.user_area]
            for area in areas:
                found = space.of_object(wanted, area)
                # A written private copy of a page is the guest's own, no longer the segment's.
                of_segment = is_file(found.entries)
                pages = found.object_pages[is_present(found.entries) & of_segment] + first_page
                mapped[pages] = True
                if private or area is guest.user_area:
                    user[pages] = True
                written_pages += int(np.count_nonzero(~of_segment)) if private or guest.standalone else 0
        return written_pages

    def _note_own_frames(self, row: _GuestRow, spaces: tuple[ProcessPages, ...]) -> None:
        # CP maps every page of a segment itself, so none of them is a guest's alone.
        entries = np.concatenate([space.without(self._objects).entries for space in spaces])
        entries = entries[is_present(entries)]
        exclusive = is_exclusive(entries)
        row.exclusive_pages = int(np.count_nonzero(exclusive))
        if self._hidden is None:
            rest = frames_of(entries[~exclusive])
            rest = rest[~self._other_frames.has(rest)]
            distinct, entries_of = np.unique(rest, return_counts=True)
            row.candidates = _Candidates(distinct, entries_of.astype(np.uint64))
        elif len(spaces) > 1:
            row.limits.append("uss_bytes of a guest of several processes needs frame numbers")
        else:
            # Bit 56 leaves out a frame that this process maps twice.
            row.host = replace(row.host, uss_bytes=row.exclusive_pages * PAGE_SIZE)

    def _guest_accounts(self) -> list[GuestAccount]:
        accounts = []
        for row in self._rows:
            stated = self._counters[row.guest.name]
            if stated is None or isinstance(stated, str):
                row.limits += [] if stated is None else [stated]
                books = GuestCounters(None if row.guest.in_place else row.xip_bytes, None, None, None)
            else:
                counted, in_place_bytes, oopses = stated[:4], stated[4], stated[5]
                if oopses:
                    row.limits.append(
                        f"the guest's kernel has failed {oopses} times, so that its own count may be wrong: see its log"
                    )
                xip_bytes = row.xip_bytes
                if in_place_bytes is None:
                    row.limits.append("its kernel shows no page tables of programs: xip_bytes are unknown")
                    xip_bytes = None
                elif xip_bytes is not None:
                    xip_bytes += in_place_bytes
                books = GuestCounters(xip_bytes, *counted)
            guest = row.guest
            accounts.append(
                GuestAccount(
                    guest.name,
                    guest.engine,
                    row.pids,
                    guest.storage_bytes,
                    books,
                    row.host,
                    row.written_bytes,
                    row.mapped_bytes,
                )
            )
        return accounts


def measure(
    system: SystemTarget,
    guest_counters: Mapping[str, StatedCounters | str | None],
    segment_users: Mapping[str, int],
    *,
    free_before_bytes: int | None = None,
) -> MeasureResult:
    """Return what each guest of `system` costs and what sharing saves; arguments as Accounts has them.

    Guests are held still meanwhile. What the kernel does not show to this user is None, with the reason in `limits`.
    Raises LaunchError where a guest ends, or has no entry in `guest_counters`.
    """
    for guest in system.guests:
        if not guest.pids or guest.name not in guest_counters:
            wanted = "the account of its own kernel" if guest.pids else "a process that runs"
            raise LaunchError(f"{guest.label}: wanted {wanted}, found none; it has not started, or ended early")
    hidden = hidden_because()
    accounts = Accounts(system, guest_counters, segment_users, hidden=hidden)
    with ended_processes_named(system), hold_system(system) as hold:
        scan(system, [accounts])
        accounts.count_own_frames()
    limits = [*([] if hidden is None else [hidden]), *not_held(system, hold)]
    return accounts.result(limits, free_before_bytes)


def huge_of_segments(system: SystemTarget) -> Mapping[int, int | None]:
    """Return how many bytes of CP's mapping of each segment lie in huge pages, by its address."""
    return huge_bytes(system.cp_pid, {segment.address for segment in system.segments})


def _first_pages(segments: tuple[SegmentTarget, ...]) -> dict[Object, int]:
    """Return where each segment's pages begin in one row of all segments' pages."""
    first_pages: dict[Object, int] = {}
    pages = 0
    for segment in segments:
        first_pages[segment.object] = pages
        pages += segment.pages
    return first_pages
