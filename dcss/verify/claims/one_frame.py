"""Claim 1, one-frame-per-page: what guests have mapped of a segment's files are the frames that CP has mapped."""

import os
from typing import Final, NamedTuple

import numpy as np

from dcss.account.pagemap import Flags, Pages, is_present
from dcss.results import Claim, FileProof
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import GuestView, SegmentPages, Snapshot
from dcss.verify.wording import count, first_few

NAME: Final = "one-frame-per-page"


class _Tally(NamedTuple):
    """One segment's files (columns) in each guest (rows): whether any page is mapped, and how many are what."""

    segment: SegmentView
    sights: list[SegmentPages]
    mapped: Flags
    missing: Pages
    wrong: Pages

    @classmethod
    def of(cls, segment: SegmentView, sights: list[SegmentPages]) -> "_Tally":
        def by_file(pages: list[Flags]) -> Pages:
            counts = [segment.files.count(flags) for flags in pages]
            return np.array(counts, np.int64).reshape(len(sights), len(segment.files.paths))

        return cls(
            segment,
            sights,
            by_file([sight.mapped for sight in sights]) > 0,
            by_file([~sight.proved & ~sight.wrong for sight in sights]),
            by_file([sight.wrong for sight in sights]),
        )


def judge_one_frame(snapshot: Snapshot, segments: list[SegmentView], *, frames: bool) -> tuple[Claim, list[FileProof]]:
    """Judge the claim for all guests that share; with `frames` False by device, inode, offset and presence alone."""
    guests = [guest for guest in snapshot.guests if guest.target.expect == "shared"]
    visible = [guest for guest in guests if guest.denied is None]
    denied = [f"guest {guest.target.name}: {guest.denied}" for guest in guests if guest.denied is not None]
    tallies = [
        _Tally.of(segment, [guest.segments[index] for guest in visible]) for index, segment in enumerate(segments)
    ]
    proofs = [proof for tally in tallies for proof in _proofs(tally, visible, frames=frames)]
    findings = [finding for row, guest in enumerate(visible) for finding in _findings(guest, row, tallies)]
    findings += _cp_findings(snapshot, segments)
    if not proofs and not denied:
        findings.insert(0, "nothing was mapped: no guest that shares has a page of a segment's file mapped")
    if findings:
        return Claim(NAME, False, first_few(findings)), proofs
    if denied:
        return Claim(NAME, None, first_few(denied)), proofs
    what = "in the frame that CP's mapping holds" if frames else "a page of the segment's object at its offset"
    files = count(len(proofs), "file")
    pages = count(sum(proof.pages for proof in proofs), "page")
    sharers = count(len({name for proof in proofs for name in proof.guests}), "guest")
    return Claim(NAME, True, f"{pages} of {files}, mapped by {sharers}: each present, and {what}"), proofs


def _findings(guest: GuestView, row: int, tallies: list[_Tally]) -> list[str]:
    name = guest.target.name
    findings = [
        f"guest {name}: at {vma.start:#x} lies {os.fsdecode(vma.path) or 'an object without a name'}"
        f" (inode {vma.inode}), {count(vma.pages, 'page')} of no segment: a copy in the segment's place"
        for vma in guest.foreign_mappings
    ]
    for tally, sight in zip(tallies, guest.segments, strict=True):
        segment = tally.segment
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
        if sight.device_wrong:
            wrong = f"{sight.device_wrong:,} of {count(sight.device_pages, 'page')}"
            findings.append(f"guest {name}: {segment.name} in its window: {wrong} in a frame that is not CP's")
    if not any(tally.mapped[row].any() for tally in tallies):
        findings.append(f"guest {name}: nothing was mapped")
    return findings


def _cp_findings(snapshot: Snapshot, segments: list[SegmentView]) -> list[str]:
    absent = [int(np.count_nonzero(~is_present(entries))) for entries in snapshot.cp_entries]
    return [
        f"segment {segment.name}: {count(pages, 'page')} absent from CP's own mapping at {segment.target.address:#x}"
        for segment, pages in zip(segments, absent, strict=True)
        if pages
    ]


def _proofs(tally: _Tally, guests: list[GuestView], *, frames: bool) -> list[FileProof]:
    files = tally.segment.files
    mapped = tally.mapped
    shared = ((tally.missing == 0) & (tally.wrong == 0) | ~mapped).all(axis=0)
    checked_pages = files.count(_present_in_all(tally))
    distinct_frames = _distinct_frames(tally) if frames else None
    return [
        FileProof(
            segment=tally.segment.name,
            path=files.paths[file],
            pages=int(files.counts[file]),
            checked_pages=int(checked_pages[file]),
            guests=tuple(guests[row].target.name for row in np.flatnonzero(mapped[:, file])),
            distinct_frames=None if distinct_frames is None else int(distinct_frames[file]),
            shared=bool(shared[file]),
        )
        for file in np.flatnonzero(mapped.any(axis=0)).tolist()
    ]


def _present_in_all(tally: _Tally) -> Flags:
    """Say which pages of the segment are present in every guest that maps their file."""
    files = tally.segment.files
    everywhere = np.ones(tally.segment.pages, np.bool_)
    for sight, mapped in zip(tally.sights, tally.mapped, strict=True):
        concerned = np.zeros(tally.segment.pages, np.bool_)
        # A guest that does not map a file says nothing about its pages.
        concerned[files.pages[np.repeat(mapped, files.counts)]] = True
        everywhere &= sight.proved | sight.wrong | ~concerned
    return everywhere


def _distinct_frames(tally: _Tally) -> Pages:
    """Count for each file the frames that its pages stand in, over all guests: CP's, and those of wrong pages."""
    files = tally.segment.files
    proved = np.zeros(tally.segment.pages, np.bool_)
    for sight in tally.sights:
        proved |= sight.proved
    distinct = files.count(proved)
    strange = [pair for sight in tally.sights for pair in sight.strange]
    if strange:
        owners = files.owner[np.concatenate([pages for pages, _ in strange])]
        frames = np.concatenate([found for _, found in strange]).astype(np.int64)
        pairs = np.unique(np.stack((owners, frames)), axis=1)
        known = pairs[0][(pairs[0] >= 0) & (pairs[1] > 0)]  # a page in swap has no frame
        distinct = distinct + np.bincount(known, minlength=len(files.paths))
    return distinct
