"""A snapshot of a system as an evidence file has it, from which claims are judged again.

docs/measurement.md describes the records. Without frame numbers a page counts by being present, as in the proof.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SHIFT
from dcss.abi.pagemap import PM_FILE, PM_PRESENT
from dcss.account.maps import Vma
from dcss.account.pagemap import Entries, Flags, Pages
from dcss.account.targets import GUESTS, PROCESSES, AddressRange, GuestTarget, SegmentTarget
from dcss.verify.private_pages import PrivatePages
from dcss.verify.segment_content import SegmentContent
from dcss.verify.segment_view import NO_FILE, SegmentFiles, SegmentView
from dcss.verify.snapshot import GuestView, SegmentPages, Snapshot

Record = Mapping[str, Any]


class _MappedPages(NamedTuple):
    """Pages of one mapping: where they are mapped, which of the segment they are, and what was found there.

    `present`: there, and still the object's; `holds`: and in the frame that CP has.
    """

    pages: Pages
    segment_pages: Pages
    frames: Entries
    present: Flags
    holds: Flags


class RecordedSystem:
    """Takes the records of a file one after the other, in their order. Raises KeyError for a record without a field."""

    def __init__(self) -> None:
        self.name = ""
        self.frames = False
        self.claims: list[Record] = []
        self.copies: list[Record] = []
        self.searched: set[str] = set()
        self.open: dict[str, str] = {}
        self.verdict: Record | None = None
        self.map_counts: list[Pages | None] = []
        self._guests: dict[str, GuestView] = {}
        self._segments: dict[str, Record] = {}
        self._snapshot: Snapshot | None = None

    def take(self, record: Record) -> None:
        """Take the next record; kinds that no claim needs are ignored."""
        match record["record"]:
            case "system":
                self.name, self.frames = record["system"], record["evidence"] == "frames"
            case "guest":
                self._guests[record["guest"]] = GuestView(_guest_target(record), tuple(record["pids"]), None, [])
            case "segment":
                self._segments[record["segment"]] = record
            case "mappings":
                self._take_mappings(record)
            case "stranger":
                self._take_stranger(record)
            case "denied":
                self._guests[record["guest"]].denied = record["reason"]
            case "search":
                self.searched.add(record["role"])
            case "copy":
                self.copies.append(record)
            case "open":
                self.open[record["claim"]] = record["reason"]
            case "claim":
                self.claims.append(record)
            case "verdict":
                self.verdict = record

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot as far as it was taken."""
        if self._snapshot is None:
            segments = [_segment_view(record, self._segments) for record in self._segments.values()]
            entries = [_entries(record["frames"], record["present"]) for record in self._segments.values()]
            self.map_counts = [
                None if record["map_counts"] is None else np.array(record["map_counts"], np.int64)
                for record in self._segments.values()
            ]
            counts = [np.zeros(segment.pages, np.int64) for segment in segments]
            seen = [np.zeros(segment.pages, np.bool_) for segment in segments]
            guests = [*self._guests.values()]
            terms = PROCESSES if any(guest.target.standalone for guest in guests) else GUESTS
            self._snapshot = Snapshot(self.frames, segments, entries, counts, seen, guests, terms=terms)
            for guest in self._guests.values():
                guest.segments += [
                    SegmentPages.of(segment.pages, by_page=guest.target.in_place) for segment in segments
                ]
        return self._snapshot

    def _take_mappings(self, record: Record) -> None:
        snapshot, guest = self.snapshot, self._guests.get(record["role"])
        index = list(self._segments).index(record["segment"])
        for mapping in record["mappings"]:
            frames = np.array(mapping["frames"], np.uint64)
            segment_pages = mapping["segment_page"] + np.arange(len(frames))
            inside: Flags = segment_pages < snapshot.segments[index].pages  # a mapping may be longer than its object
            frames, segment_pages = frames[inside], segment_pages[inside]
            present = np.array(mapping["present"], np.bool_)[inside]
            holds = present
            if self.frames:
                holds = present & (_entries(frames, present) == snapshot.cp_entries[index][segment_pages])
            np.add.at(snapshot.pte_counts[index], segment_pages[holds], 1)
            snapshot.seen[index][segment_pages[holds]] = True
            if guest is not None:
                pages = (mapping["address"] >> PAGE_SHIFT) + np.flatnonzero(inside)
                self._judge(guest, index, _MappedPages(pages, segment_pages, frames, present, holds))

    def _judge(self, guest: GuestView, index: int, mapped: "_MappedPages") -> None:
        target, found = guest.target, guest.segments[index]
        pages, segment_pages, frames, present, holds = mapped
        private = target.loads_privately(self.snapshot.segments[index].target)
        if private:
            guest.private_loads.add(index)
        there: Flags = present | (frames != 0)
        in_area = _within(pages, target.user_area)
        if not (target.standalone and target.in_place):
            found.mapped[segment_pages[in_area]] = True
        device = _within(pages, target.window) & (present if private else there)
        user = in_area & there
        if target.in_place:
            user |= device
            found.mapped[segment_pages[user if target.standalone else device]] = True
        found.proved[segment_pages[user & holds]] = True
        wrong = user & ~holds
        if wrong.any():
            found.wrong[segment_pages[wrong]] = True
            found.strange.append((segment_pages[wrong], frames[wrong]))
        found.device_pages += int(np.count_nonzero(device))
        found.device_wrong += int(np.count_nonzero(device & ~holds))

    def _take_stranger(self, record: Record) -> None:
        guest, start = self._guests[record["guest"]], record["address"]
        if record["path"]:
            end = start + (record["pages"] << PAGE_SHIFT)
            guest.foreign_mappings.append(Vma(start, end, "r--s", 0, 0, 0, record["path"].encode("utf-8", "replace")))
        else:
            guest.intruders.append(PrivatePages(record["pid"], start, record["pages"]))


class _RecordedContent(SegmentContent):
    """The content of a segment that is not there any more."""

    def __init__(self, pages: int) -> None:
        super().__init__(-1, pages)

    def size_bytes(self) -> int:
        """Return the size that the object had."""
        return self.pages << PAGE_SHIFT


def _guest_target(record: Record) -> GuestTarget:
    return GuestTarget(
        record["guest"],
        record["engine"],
        tuple(record["pids"]),
        record["expect"],
        0,
        AddressRange(*record["window"]),
        AddressRange(*record["user_area"]),
        non_shared=frozenset(record.get("non_shared", ())),
        in_place=record.get("in_place", False),
        buffering=record.get("buffering", False),
        standalone=record.get("standalone", False),
    )


def _segment_view(record: Record, segments: Mapping[str, Record]) -> SegmentView:
    pages = record["pages"]
    target = SegmentTarget(
        record["segment"],
        SegmentType[record.get("type", "SR")],
        record["shm"],
        -1,
        0,
        pages << PAGE_SHIFT,
        None,
        joined=tuple(segments[name]["shm"] for name in record["joined"]),
        own_runs=tuple((first, count) for first, count in record.get("own_runs", ())),
    )
    return SegmentView(target, (0, 0), _RecordedContent(pages), _files(record["files"], pages))


def _files(files: Sequence[Record], segment_pages: int) -> SegmentFiles:
    counts = np.array([len(file["pages"]) for file in files], np.int64)
    pages = np.array([*chain.from_iterable(file["pages"] for file in files)], np.int64)
    owner = np.full(segment_pages, NO_FILE)
    owner[pages] = np.repeat(np.arange(len(files)), counts)
    return SegmentFiles(
        tuple(file["path"] for file in files),
        tuple(file.get("damage", "") for file in files),
        pages,
        np.cumsum(counts) - counts,
        counts,
        owner,
    )


def _entries(frames: Any, present: Any) -> Entries:
    """Return what pagemap says of pages that are present and the object's, and 0 for others."""
    flags = np.uint64(PM_PRESENT | PM_FILE)
    entries: Entries = np.where(np.asarray(present, np.bool_), np.asarray(frames, np.uint64) | flags, np.uint64(0))
    return entries


def _within(pages: Pages, addresses: AddressRange) -> Flags:
    within: Flags = (pages >= addresses.start >> PAGE_SHIFT) & (pages < addresses.end >> PAGE_SHIFT)
    return within
