"""Claim 3, books-close: the page-table entries found in the system are all that exist: nobody else maps a segment."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.frames import in_large_folios, map_counts
from dcss.account.huge import counts_are_averages
from dcss.account.maps import parse_maps, read_maps
from dcss.account.pagemap import frames_of
from dcss.account.smaps import read_rollup, read_smaps
from dcss.account.targets import Object
from dcss.errors import DcssError, MeasurementDeniedError
from dcss.host.file_questions import FileQuestions
from dcss.results import Claim
from dcss.verify.backing import Backings
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import Snapshot
from dcss.verify.wording import count, first_few

NAME: Final = "books-close"
_KB = 1024


def judge(snapshot: Snapshot) -> Claim:
    """Judge the claim: entry by entry or, without frame numbers, by all processes' shares of shared memory.

    It reads more of the kernel's books, so guests must stand still.
    """
    if snapshot.denied:
        return Claim(NAME, None, f"not all processes' books could be read: {first_few(snapshot.denied)}")
    if not snapshot.segments:
        return Claim(NAME, None, "no segment is published")
    try:
        return _by_entries(snapshot) if snapshot.frames else _by_shares(snapshot)
    except MeasurementDeniedError as error:
        return Claim(NAME, None, str(error))


def _by_entries(snapshot: Snapshot) -> Claim:
    if counts_are_averages():
        for segment, cp_entries in zip(snapshot.segments, snapshot.cp_entries, strict=True):
            large = int(np.count_nonzero(in_large_folios(frames_of(cp_entries))))
            if large:
                detail = (
                    f"segment {segment.name}: {count(large, 'page')} in huge pages, of which this kernel counts"
                    " mappings on average only (CONFIG_NO_PAGE_MAPCOUNT); give the segment huge_pages: never"
                )
                return Claim(NAME, None, detail)
    findings = []
    entries = pages = 0
    for segment, cp_entries, ours in zip(snapshot.segments, snapshot.cp_entries, snapshot.pte_counts, strict=True):
        frames = frames_of(cp_entries)
        # Frame 0 stands for a page that CP does not have present: claim 1 reports that.
        counted = np.where(frames != 0, map_counts(frames, complete=True).astype(np.int64), 0)
        entries += int(ours.sum())
        pages += int(np.count_nonzero(frames))
        foreign = counted - ours
        if foreign.any():
            more, fewer = count(int(np.count_nonzero(foreign > 0)), "page"), int(np.count_nonzero(foreign < 0))
            finding = f"segment {segment.name}: {more} mapped more often than the system's processes map them"
            # Fewer than were found cannot be somebody else's doing.
            if fewer:
                finding += f", {fewer:,} less often (books that move, or a kernel that counts large folios roughly)"
            findings.append(f"{finding}; {_mappers(segment, snapshot)}")
    if findings:
        return Claim(NAME, False, first_few(findings))
    processes = count(len(snapshot.pids), "process", "processes")
    detail = f"{count(entries, 'page-table entry', 'page-table entries')} for {count(pages, 'frame')} in {processes}"
    return Claim(NAME, True, f"{detail}: as many as /proc/kpagecount has, so nobody else maps them")


def _mappers(segment: SegmentView, snapshot: Snapshot) -> str:
    """Name the processes outside the system that map the segment's object."""
    foreign = []
    # Only after a mismatch: it reads the maps of every process there is.
    for directory in Path("/proc").glob("[0-9]*"):
        pid = int(directory.name)
        if pid in snapshot.pids:
            continue
        try:
            if any(vma.object == segment.object for vma in parse_maps((directory / "maps").read_bytes())):
                foreign.append(f"{pid} ({(directory / 'comm').read_text().strip()})")
        except OSError:
            continue
    if not foreign:
        return "no process that can be seen here maps it"
    return f"it is mapped by {'process' if len(foreign) == 1 else 'processes'} {first_few(foreign)}"


@dataclass(slots=True)
class _Shares:
    """Shares of shared memory in all processes, without other objects' shares, and by how much rounding may err."""

    bytes: int = 0
    error_bytes: int = 0


def _by_shares(snapshot: Snapshot) -> Claim:
    shares = _Shares()
    objects = frozenset(segment.object for segment in snapshot.segments)
    try:
        with FileQuestions() as questions:
            backings = Backings(questions)
            for pid in snapshot.pids:
                reason = _add_share(shares, pid, objects, backings)
                if reason is not None:
                    return Claim(NAME, None, reason)
    except DcssError as error:
        return Claim(NAME, None, str(error))
    mapped_bytes = sum(int(np.count_nonzero(seen)) for seen in snapshot.seen) * PAGE_SIZE
    missing_bytes = mapped_bytes - shares.bytes
    detail = (
        f"shares (Pss_Shmem) of {count(len(snapshot.pids), 'process', 'processes')} add up to {shares.bytes:,} bytes,"
        f" their segment pages to {mapped_bytes:,}, rounding to {shares.error_bytes:,} at most"
    )
    if abs(missing_bytes) <= shares.error_bytes:
        return Claim(NAME, True, f"{detail}: nobody else maps more than that")
    if missing_bytes < 0:
        return Claim(NAME, None, f"{detail}: more than they map, so these books cannot be told apart")
    mappers = first_few([f"{segment.name}: {_mappers(segment, snapshot)}" for segment in snapshot.segments])
    return Claim(NAME, False, f"{detail}: somebody else maps them; {mappers}")


def _add_share(shares: _Shares, pid: int, objects: frozenset[Object], backings: Backings) -> str | None:
    """Add one process; return why that cannot be done, if so."""
    rollup = read_rollup(pid)
    if "Pss_Shmem" not in rollup:
        return "this kernel's smaps_rollup has no Pss_Shmem (Linux 5.3 and later have it)"
    # The kernel rounds each process's sum down to a whole kB, once.
    shares.bytes += rollup["Pss_Shmem"]
    shares.error_bytes += _KB
    others = {vma for vma in read_maps(pid) if vma.inode and vma.object not in objects and backings.is_shmem(pid, vma)}
    for mapping in read_smaps(pid) if others else ():
        if mapping.vma not in others or not mapping.fields_bytes["Pss"]:
            continue
        # Pss of a private mapping holds written copies, too, and does not say how much.
        if mapping.fields_bytes["Anonymous"]:
            path = os.fsdecode(mapping.vma.path)
            return f"process {pid}: the share of {path} mixes shared and private pages"
        shares.bytes -= mapping.fields_bytes["Pss"]
        shares.error_bytes += _KB
    return None
