"""Claim 1, one-frame-per-page: what guests have mapped of a segment's files are the frames that CP has mapped."""

import os
from typing import Final

import numpy as np

from dcss.account.pagemap import is_present
from dcss.results import Claim
from dcss.verify.files import FileTally, file_tallies, visible_sharing
from dcss.verify.snapshot import GuestView, Snapshot, denied_reasons
from dcss.verify.wording import count, first_few

NAME: Final = "one-frame-per-page"


def judge(snapshot: Snapshot) -> Claim:
    """Judge the claim for all guests that share; without frame numbers by device, inode, offset and presence alone."""
    if not snapshot.sharing:
        return Claim(NAME, None, "no guest is expected to share", applies=False)
    denied = denied_reasons(snapshot.sharing)
    guests = visible_sharing(snapshot)
    tallies = file_tallies(snapshot)
    # CP's own come first: they are the cause of what is missing in guests.
    findings = _cp_findings(snapshot)
    findings += [finding for index, guest in enumerate(guests) for finding in _findings(guest, index, tallies)]
    files, pages, sharers = _mapped(tallies, len(guests))
    if not files and not denied:
        findings.insert(0, "nothing was mapped: no guest that shares has a page of a segment's file mapped")
    if findings:
        return Claim(NAME, False, first_few(findings))
    if denied:
        return Claim(NAME, None, first_few(denied))
    what = "in the frame that CP's mapping holds" if snapshot.frames else "a page of the segment's object at its offset"
    mapped = f"{count(pages, 'page')} of {count(files, 'file')}, mapped by {count(sharers, 'guest')}"
    return Claim(NAME, True, f"{mapped}: each present, and {what}")


def _mapped(tallies: list[FileTally], guests: int) -> tuple[int, int, int]:
    """Count the files that any guest maps, their pages, and the guests that map any."""
    files = pages = 0
    sharers = np.zeros(guests, np.bool_)
    for tally in tallies:
        anywhere = tally.mapped.any(axis=0)
        files += int(np.count_nonzero(anywhere))
        pages += int(tally.segment.files.counts[anywhere].sum())
        sharers |= np.any(tally.mapped, axis=1, keepdims=True)[tally.row_of, 0]
    return files, pages, int(np.count_nonzero(sharers))


def _findings(guest: GuestView, index: int, tallies: list[FileTally]) -> list[str]:
    """Say what is wrong in one guest, which has place `index` in the tallies."""
    name = guest.target.name
    findings = [
        f"guest {name}: at {vma.start:#x} lies {os.fsdecode(vma.path) or 'an object without a name'}"
        f" (inode {vma.inode}), {count(vma.pages, 'page')} of no segment: a copy in the segment's place"
        for vma in guest.foreign_mappings
    ]
    maps_any = False
    for tally, pages in zip(tallies, guest.segments, strict=True):
        segment, row = tally.segment, tally.row_of[index]
        maps_any |= bool(tally.mapped[row].any())
        # A file of which any page is mapped must be there whole.
        faulty = tally.mapped[row] & ((tally.missing[row] > 0) | (tally.wrong[row] > 0))
        for file in np.flatnonzero(faulty).tolist():
            total = count(int(segment.files.counts[file]), "page")
            faults = [
                f"{number:,} of {total} {what}"
                for number, what in (
                    (tally.missing[row, file], "absent, so unproved"),
                    (tally.wrong[row, file], "in a frame that is not CP's"),
                )
                if number
            ]
            findings.append(f"guest {name}: {segment.name}:{segment.files.paths[file]}: {', '.join(faults)}")
        if pages.device_wrong:
            wrong = f"{pages.device_wrong:,} of {count(pages.device_pages, 'page')}"
            findings.append(f"guest {name}: {segment.name} in its window: {wrong} in a frame that is not CP's")
    if not maps_any:
        findings.append(f"guest {name}: nothing was mapped")
    return findings


def _cp_findings(snapshot: Snapshot) -> list[str]:
    absent = [int(np.count_nonzero(~is_present(entries))) for entries in snapshot.cp_entries]
    return [
        segment.why_cut_short()
        or f"segment {segment.name}: {count(pages, 'page')} absent from CP's own mapping at {segment.target.address:#x}"
        for segment, pages in zip(snapshot.segments, absent, strict=True)
        if pages
    ]
