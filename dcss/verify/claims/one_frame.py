"""Claim 1, one-frame-per-page: what guests have mapped of a segment's files are the frames that CP has mapped."""

import os
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from dcss.account.pagemap import Flags, is_present
from dcss.account.targets import GUESTS, Terms
from dcss.results import Claim
from dcss.verify.files import FileTally, checked_pages, file_tallies, visible_sharing
from dcss.verify.segment_view import NO_FILE, SegmentView
from dcss.verify.snapshot import GuestView, Snapshot, denied_reasons
from dcss.verify.wording import count, first_few

NAME: Final = "one-frame-per-page"
_COPY_ON_WRITE: Final = "pages are the segment's until a guest writes them (copy on write)"


def judge(snapshot: Snapshot) -> Claim:
    """Judge the claim for all guests that share; without frame numbers by device, inode, offset and presence alone."""
    if not snapshot.sharing:
        return Claim(NAME, None, "no guest is expected to share", applies=False)
    terms = snapshot.terms
    denied = denied_reasons(snapshot.sharing)
    guests = visible_sharing(snapshot)
    tallies = file_tallies(snapshot)
    # CP's own come first: they are the cause of what is missing in guests.
    findings = _cp_findings(snapshot)
    findings += [
        finding for index, guest in enumerate(guests) for finding in _findings(guest, index, tallies, snapshot)
    ]
    mapped = _Mapped.of(tallies, len(guests), terms)
    exempt = _private_loads(snapshot.segments, guests)
    if not mapped.files and not denied and not (guests and all(guest.private_loads for guest in guests)):
        findings.insert(0, _nothing_mapped(snapshot))
    if findings:
        return Claim(NAME, False, first_few(findings))
    unproved = [*denied, *mapped.unchecked]
    if unproved:
        return Claim(NAME, None, first_few(unproved))
    if not mapped.files:
        return Claim(NAME, None, f"{exempt}: {_COPY_ON_WRITE}, and no other segment is mapped", applies=False)
    besides = f"; it does not apply to {exempt}: {_COPY_ON_WRITE}" if exempt else ""
    return Claim(NAME, True, mapped.sentence(terms, frames=snapshot.frames) + besides)


def _nothing_mapped(snapshot: Snapshot) -> str:
    if any(guest.target.standalone for guest in snapshot.guests):
        return "nothing was mapped: no process maps a page of what was looked for"
    return "nothing was mapped: no guest that shares has a page of a segment's file mapped"


def _private_loads(segments: list[SegmentView], guests: list[GuestView]) -> str:
    """Name the segments that guests load privately, and by what; an empty text where there are none."""
    guests_of: dict[str, list[str]] = {}
    for guest in guests:
        for index in sorted(guest.private_loads):
            target = segments[index].target
            why = f"type {target.type.name}" if target.type.exclusive else "loaded non-shared"
            guests_of.setdefault(f"{target.name} ({why})", []).append(guest.target.name)
    return first_few(
        [
            f"{segment} in {f'guest {names[0]}' if len(names) == 1 else count(len(names), 'guest')}"
            for segment, names in guests_of.items()
        ]
    )


@dataclass(frozen=True, slots=True)
class _Mapped:
    """What is mapped of all files by the guests that share, and how much of it was checked.

    `unchecked` names mapped files of which no page is present in all guests that map them, or not all pages are known.
    """

    files: int
    pages: int
    checked_pages: int
    sharers: int
    unchecked: list[str]

    @classmethod
    def of(cls, tallies: list[FileTally], guests: int, terms: Terms) -> Self:
        files = pages = checked = 0
        unchecked: list[str] = []
        sharers = np.zeros(guests, np.bool_)
        for tally in tallies:
            anywhere: Flags = np.logical_or.reduce(tally.mapped, axis=0)
            present = checked_pages(tally)
            files += int(np.count_nonzero(anywhere))
            pages += int(tally.volume.files.counts[anywhere].sum())
            checked += int(present[anywhere].sum())
            unchecked += [_unchecked(tally, file, terms) for file in np.flatnonzero(anywhere & (present == 0)).tolist()]
            unchecked += [
                f"{tally.volume.label(file)}: not all of its pages are known: {damage}"
                for file, damage in enumerate(tally.volume.files.damage)
                if damage and anywhere[file]
            ]
            sharers |= np.any(tally.mapped, axis=1, keepdims=True)[tally.row_of, 0]
        return cls(files, pages, checked, int(np.count_nonzero(sharers)), unchecked)

    def sentence(self, terms: Terms, *, frames: bool) -> str:
        """Say what was checked, and what was not."""
        of_segment = f"a page of the {terms.segment}'s object at its offset"
        what = f"in the frame that {terms.owner}'s mapping holds" if frames else of_segment
        mapped = f"{count(self.files, 'file')}, mapped by {count(self.sharers, terms.guest, terms.guests)}"
        if self.checked_pages == self.pages:
            return f"{count(self.pages, 'page')} of {mapped}: each present, and {what}"
        absent = self.pages - self.checked_pages
        return (
            f"{self.checked_pages:,} of {count(self.pages, 'page')} of {mapped}: each {what};"
            f" {count(absent, 'page')} not checked, since some {terms.guest} has not touched them"
        )


def _unchecked(tally: FileTally, file: int, terms: Terms) -> str:
    pages = count(int(tally.volume.files.counts[file]), "page")
    who = f"every {terms.guest} that maps it"
    mend = " (a map: step makes all of them present)" if terms is GUESTS else ""
    return f"{tally.volume.label(file)}: none of its {pages} is present in {who}{mend}"


def _findings(guest: GuestView, index: int, tallies: list[FileTally], snapshot: Snapshot) -> list[str]:
    """Say what is wrong in one guest, which has place `index` in the tallies."""
    name, owner = guest.target.label, snapshot.terms.owner
    findings = [
        f"{name}: at {vma.start:#x} lies {os.fsdecode(vma.path) or 'an object without a name'}"
        f" (inode {vma.inode}), {count(vma.pages, 'page')} of no segment: a copy in the segment's place"
        for vma in guest.foreign_mappings
    ]
    findings += [
        f"{name}: at {run.address:#x} in its user area: {count(run.pages, 'page')} of private memory (process"
        f" {run.pid}), where pages of a segment's file should be"
        for run in guest.intruders
    ]
    maps_any = False
    for tally in tallies:
        row = tally.row_of[index]
        maps_any |= bool(tally.mapped[row].any())
        for file in np.flatnonzero(tally.mapped[row] & (tally.wrong[row] > 0)).tolist():
            wrong = f"{int(tally.wrong[row, file]):,} of {count(int(tally.volume.files.counts[file]), 'page')}"
            findings.append(f"{name}: {tally.volume.label(file)}: {wrong} in a frame that is not {owner}'s")
    for segment, pages in zip(snapshot.segments, guest.segments, strict=True):
        strays = int(np.count_nonzero(pages.wrong & (segment.files.owner == NO_FILE)))
        if strays:
            what = f"{count(strays, 'page')} of no file in a frame that is not {owner}'s"
            findings.append(f"{name}: {segment.name}: {what}")
        if pages.device_wrong:
            wrong = f"{pages.device_wrong:,} of {count(pages.device_pages, 'page')}"
            findings.append(f"{name}: {segment.name} in its window: {wrong} in a frame that is not {owner}'s")
    if not maps_any and not guest.private_loads:
        findings.append(f"{name}: nothing was mapped")
    return findings


def _cp_findings(snapshot: Snapshot) -> list[str]:
    absent = [int(np.count_nonzero(~is_present(entries))) for entries in snapshot.cp_entries]
    if any(guest.target.standalone for guest in snapshot.guests):
        return []  # only what they have present matters, and whoever truncates a file of theirs may do so
    return [
        segment.why_cut_short()
        or f"segment {segment.name}: {count(pages, 'page')} absent from CP's own mapping at {segment.target.address:#x}"
        for segment, pages in zip(snapshot.segments, absent, strict=True)
        if pages
    ]
