"""Claim 5, baselines-copy: what guests that should copy have read stands in frames that are theirs alone."""

import os
from typing import Final

import numpy as np

from dcss.account.frames import map_counts
from dcss.account.pagemap import Entries, Flags, Pages, is_exclusive
from dcss.errors import MeasurementDeniedError
from dcss.results import Claim
from dcss.verify.claims.no_copies import Process
from dcss.verify.search.page_contents import LOW_ENTROPY, Contents
from dcss.verify.search.process_memory import Searchable
from dcss.verify.snapshot import GuestView
from dcss.verify.wording import count, first_few

NAME: Final = "baselines-copy"


def judge_baselines(contents: Contents, guests: list[GuestView], processes: list[Process], *, frames: bool) -> Claim:
    """Judge the claim for `guests`, all of them baselines, from the search of their memory."""
    denied = [f"guest {guest.target.name}: {guest.denied}" for guest in guests if guest.denied is not None]
    findings: list[str] = []
    # A page that several files have in common does not say which of them was read.
    one_file = contents.file_counts() == 1
    pages = files = 0
    for guest in guests:
        mine = [process for process in processes if process.guest is guest.target]
        denied += [
            f"guest {guest.target.name}: {process.found}"
            for process in mine
            if isinstance(process.found, MeasurementDeniedError)
        ]
        # What is mapped rather than read would be found nowhere in its memory, and be missed.
        findings += _mapped_instead(guest)
        if denied:
            continue
        found = np.zeros(len(contents), np.bool_)
        for process in mine:
            if not isinstance(process.found, MeasurementDeniedError):
                found[process.found.hits.contents] = True
        complete, incomplete = _files(contents, found, found & one_file)
        name = guest.target.name
        findings += [f"guest {name}: {finding}" for finding in incomplete]
        if not complete and not incomplete:
            findings.append(f"guest {name}: nothing was read: its memory holds no file of a segment")
        if shared := _in_shared_frames(mine, frames=frames):
            findings.append(f"guest {name}: {shared}")
        pages += int(np.count_nonzero(found))
        files += complete
    if findings:
        return Claim(NAME, False, first_few(findings))
    if denied:
        return Claim(NAME, None, first_few(denied))
    what = f"{count(files, 'file')} ({count(pages, 'page')}) in {count(len(guests), 'baseline guest')}"
    return Claim(NAME, True, f"{what}: found whole, each page in a frame of that guest alone")


def _mapped_instead(guest: GuestView) -> list[str]:
    """Find what a baseline maps rather than copies: segments outside its window, other files in its ranges."""
    name = guest.target.name
    return [
        f"guest {name}: {what} {os.fsdecode(vma.path)} is mapped at {vma.start:#x} instead of being copied"
        for what, vmas in (("segment object", guest.outside_window), ("file", guest.foreign_mappings))
        for vma in vmas
    ]


def _files(contents: Contents, found: Flags, distinctive: Flags) -> tuple[int, list[str]]:
    """Return how many files were found whole, and which in part; `distinctive` contents are in one file only."""
    complete = 0
    incomplete: list[str] = []
    for segment, of_page in zip(contents.segments, contents.of_page, strict=True):
        counted = of_page != LOW_ENTROPY
        read = segment.files.count(counted & distinctive[of_page]) > 0
        # Dull pages cannot be told from memory that was never written, so nobody misses them.
        missing = segment.files.count(counted & ~found[of_page])
        complete += int(np.count_nonzero(read & (missing == 0)))
        for file in np.flatnonzero(read & (missing > 0)).tolist():
            total = count(int(segment.files.counts[file]), "page")
            found_not = f"{int(missing[file]):,} of {total} not found in its memory, so shared or not read"
            incomplete.append(f"{segment.name}:{segment.files.paths[file]}: {found_not}")
    return complete, incomplete


def _in_shared_frames(processes: list[Process], *, frames: bool) -> str | None:
    """Say which pages found lie in frames that others map, too."""
    # A guest of several processes may map a frame of its own more than once.
    own, entries = np.unique(np.concatenate([process.searched.frames for process in processes]), return_counts=True)
    shared = 0
    example = 0
    for process in processes:
        if isinstance(process.found, MeasurementDeniedError):
            continue
        hits = process.found.hits
        searched = process.searched
        alone = _alone(searched, hits.addresses, own, entries) if frames else _exclusive(searched, hits.addresses)
        if not alone.all():
            shared += len(np.unique(hits.contents[~alone]))
            example = int(hits.addresses[~alone][0])
    if not shared:
        return None
    return f"{count(shared, 'page')}, the first at {example:#x}, in frames that others map as well"


def _alone(searched: Searchable, addresses: Pages, own: Entries, entries: Pages) -> Flags:
    """Say which pages lie in frames whose page-table entries are all this guest's (or in its swap)."""
    alone = np.ones(len(addresses), np.bool_)
    for places in searched.ends_of(addresses):
        frames = searched.frames[places]
        ours = entries[np.searchsorted(own, frames)]
        alone &= (frames == 0) | (map_counts(frames).astype(np.int64) == ours)
    return alone


def _exclusive(searched: Searchable, addresses: Pages) -> Flags:
    first, last = searched.ends_of(addresses)
    return is_exclusive(searched.entries[first]) & is_exclusive(searched.entries[last])
