"""Claim 5, baselines-copy: what guests that should copy have read stands in frames that are theirs alone."""

import os
from typing import Final

import numpy as np

from dcss.account.pagemap import Flags
from dcss.results import Claim
from dcss.verify.search.page_contents import LOW_ENTROPY, Contents
from dcss.verify.segment_view import lost_contents
from dcss.verify.snapshot import GuestView, Snapshot, denied_reasons
from dcss.verify.wording import count, first_few

NAME: Final = "baselines-copy"


def judge(snapshot: Snapshot) -> Claim | None:
    """Judge the claim from the search of the baselines' memory; None where there is no baseline."""
    guests = [guest for guest in snapshot.guests if guest.target.expect == "copies"]
    if not guests:
        return None
    contents = snapshot.search.contents
    denied = denied_reasons(guests) + lost_contents(snapshot.segments)
    findings: list[str] = []
    pages = files = 0
    # A page that several files have in common does not say which of them was read.
    one_file = np.zeros(0, np.bool_) if contents is None else contents.file_counts() == 1
    for guest in guests:
        name = guest.target.name
        searched = snapshot.search.guests[name]
        denied += searched.denied
        # What is mapped rather than read would be found nowhere in its memory, and be missed.
        findings += _mapped_instead(guest)
        if denied or searched.baseline is None or contents is None:
            continue
        found = searched.baseline.found
        complete, incomplete = _files(contents, found, searched.baseline.read & one_file)
        findings += [f"guest {name}: {finding}" for finding in incomplete]
        if not complete and not incomplete:
            findings.append(f"guest {name}: nothing was read: its memory holds no file of a segment")
        if shared := searched.baseline.shared_pages:
            where = f"the first at {searched.baseline.shared_address:#x}, in frames that others map as well"
            findings.append(f"guest {name}: {count(shared, 'page')}, {where}")
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
    for volume in contents.volumes:
        files, of_page = volume.files, contents.of_volume(volume)
        counted = of_page != LOW_ENTROPY
        read = files.count(counted & distinctive[of_page]) > 0
        # Pages of low entropy cannot be told from memory that was never written: they are not missed.
        missing = files.count(counted & ~found[of_page])
        # Equal files, or versions of a segment, cannot be told apart: any that is there whole was copied.
        complete += int(np.count_nonzero((files.count(counted) > 0) & (missing == 0)))
        for file in np.flatnonzero(read & (missing > 0)).tolist():
            total = count(int(files.counts[file]), "page")
            found_not = f"{int(missing[file]):,} of {total} not found in its memory, so shared or not read"
            incomplete.append(f"{volume.label(file)}: {found_not}")
    return complete, incomplete
