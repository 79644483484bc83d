"""The accounts of a system: for each guest what it instantiated and what it costs this machine, and the totals."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.frames import hidden_because, map_counts
from dcss.account.machine import free_memory_bytes
from dcss.account.pagemap import Entries, Flags, frames_of, is_exclusive, is_file, is_present
from dcss.account.proc import ProcessGoneError, family
from dcss.account.smaps import read_rollup, read_status
from dcss.account.space import AddressSpace, Object
from dcss.account.targets import GuestTarget, SegmentTarget, SystemTarget
from dcss.account.totals import totals_of
from dcss.errors import LaunchError, MeasurementDeniedError
from dcss.results import GuestAccount, GuestCounters, HostCosts, MachineMemory, MeasureResult, SegmentAccount, Totals

_SETTLE_TRIES = 5
_SETTLE_SECONDS = 0.01

StatedCounters = tuple[int, int, int]


class _Sight(NamedTuple):
    """One reading of one guest's books; `mapped` says which segment pages its user mappings hold."""

    pids: tuple[int, ...]
    host: HostCosts
    mapped: Flags | None
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Segments:
    """Where each segment's pages begin in one row of all segments' pages."""

    starts: dict[Object, int]
    pages: int

    @classmethod
    def of(cls, segments: tuple[SegmentTarget, ...]) -> "_Segments":
        starts: dict[Object, int] = {}
        pages = 0
        for segment in segments:
            status = os.fstat(segment.descriptor)
            starts[status.st_dev, status.st_ino] = pages
            pages += segment.size_bytes >> PAGE_SHIFT
        return cls(starts, pages)


def measure(
    system: SystemTarget,
    guest_counters: Mapping[str, StatedCounters],
    segment_users: Mapping[str, int],
    *,
    free_before_bytes: int | None = None,
) -> MeasureResult:
    """Return what each guest of `system` costs and what sharing saves.

    `guest_counters` holds page cache, buffer and anonymous bytes as each guest kernel states them, by guest name;
    `segment_users` how many guests have loaded a segment, by its name. Counters are read until two readings agree. What
    the kernel does not show to this user is None, with the reason in `limits`. Raises LaunchError where a guest ends
    meanwhile.
    """
    # Asked once for all guests: the level does not change from guest to guest.
    hidden = hidden_because()
    segments = _Segments.of(system.segments)
    limits = [] if hidden is None else [hidden]
    accounts: list[GuestAccount] = []
    sharing: list[Flags | None] = []
    for guest in system.guests:
        if not guest.pids or guest.name not in guest_counters:
            wanted = "the account of its own kernel" if guest.pids else "a process that runs"
            raise LaunchError(f"guest {guest.name}: wanted {wanted}, found none; it has not started, or ended early")
        sight, settled = _settled(partial(_look, guest, segments, hidden))
        limits += [f"guest {guest.name}: {limit}" for limit in sight.limits]
        if not settled:
            limits.append(f"guest {guest.name}: its books still moved after {_SETTLE_TRIES} readings; this is the last")
        xip_bytes = None if sight.mapped is None else int(np.count_nonzero(sight.mapped)) * PAGE_SIZE
        books = GuestCounters(xip_bytes, *guest_counters[guest.name])
        accounts.append(GuestAccount(guest.name, guest.engine, sight.pids, guest.storage_bytes, books, sight.host))
        if guest.expect == "shared":
            sharing.append(sight.mapped)
    # A sum over some of the guests would look like a sum over all.
    visible = [mapped for mapped in sharing if mapped is not None]
    totals = totals_of(visible) if len(visible) == len(sharing) else Totals(None, None, None)
    return MeasureResult(
        system.name,
        tuple(accounts),
        tuple(_segment_account(segment, segment_users.get(segment.name, 0)) for segment in system.segments),
        totals,
        None if free_before_bytes is None else MachineMemory(free_before_bytes, free_memory_bytes()),
        tuple(dict.fromkeys(limits)),
    )


def _segment_account(segment: SegmentTarget, users: int) -> SegmentAccount:
    # The kernel counts an object's pages in blocks of 512 bytes.
    resident_bytes = os.fstat(segment.descriptor).st_blocks * 512
    return SegmentAccount(segment.name, segment.shm_name, segment.size_bytes, resident_bytes, users)


def _settled(read: Callable[[], _Sight]) -> tuple[_Sight, bool]:
    # Agreement of the host's figures is enough: they cover every page, the mapped ones included.
    last = read()
    for _ in range(_SETTLE_TRIES - 1):
        now = read()
        if now.host == last.host:
            return now, True
        time.sleep(_SETTLE_SECONDS)
        last = now
    return last, False


def _look(guest: GuestTarget, segments: _Segments, hidden: str | None) -> _Sight:
    for _ in range(_SETTLE_TRIES):
        try:
            return _look_once(guest, family(guest.pids), segments, hidden)
        except ProcessGoneError as error:
            if error.pid in guest.pids:
                raise LaunchError(f"guest {guest.name}: {error}") from error
    raise LaunchError(f"guest {guest.name}: the processes that it forks end faster than their books can be read")


def _look_once(guest: GuestTarget, pids: tuple[int, ...], segments: _Segments, hidden: str | None) -> _Sight:
    page_table_bytes = sum(read_status(pid).get("VmPTE", 0) for pid in pids)
    host = HostCosts(None, None, None, page_table_bytes)
    try:
        # One walk by the kernel for a whole process; smaps would print every mapping.
        rollups = [read_rollup(pid) for pid in pids]
        host = replace(
            host,
            rss_bytes=sum(rollup["Rss"] for rollup in rollups),
            pss_bytes=sum(rollup["Pss"] for rollup in rollups),
        )
        spaces = [AddressSpace.read(pid) for pid in pids]
    except MeasurementDeniedError as error:
        return _Sight(pids, host, None, (str(error),))
    mapped = np.zeros(segments.pages, np.bool_)
    own: list[Entries] = []
    for space in spaces:
        mapped |= _mapped_pages(space, guest, segments)
        # CP maps every page of a segment itself, so none of them is a guest's alone.
        rest = space.without(segments.starts)
        own.append(rest.entries[is_present(rest.entries)])
    uss_bytes, limits = _uss_bytes(own, hidden)
    return _Sight(pids, replace(host, uss_bytes=uss_bytes), mapped, limits)


def _mapped_pages(space: AddressSpace, guest: GuestTarget, segments: _Segments) -> Flags:
    mapped = np.zeros(segments.pages, np.bool_)
    for wanted, start in segments.starts.items():
        found = space.of_object(wanted, guest.user_area)
        # A written private copy of a page is the guest's own, no longer the segment's.
        shared = is_present(found.entries) & is_file(found.entries)
        mapped[found.object_pages[shared] + start] = True
    return mapped


def _uss_bytes(own: list[Entries], hidden: str | None) -> tuple[int | None, tuple[str, ...]]:
    if hidden is None:
        # A frame is the guest's alone if no entry exists beyond those of its own processes.
        frames, entries = np.unique(frames_of(np.concatenate(own)), return_counts=True)
        return int(np.count_nonzero(map_counts(frames) == entries.astype(np.uint64))) * PAGE_SIZE, ()
    if len(own) > 1:
        return None, ("uss_bytes of a guest of several processes needs frame numbers",)
    # Bit 56 leaves out a frame that this process maps twice.
    return int(np.count_nonzero(is_exclusive(own[0]))) * PAGE_SIZE, ()
