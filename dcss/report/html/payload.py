"""The data of a report's script: guests, segments page by page, files, and which guest uses what, in a compact form."""

from collections.abc import Sequence
from posixpath import split
from typing import Any

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.report.html.encode import encode_column, encode_numbers, encode_runs
from dcss.report.html.files import FileRow, file_key, file_rows
from dcss.report.html.pages import HUGE_PAGES, EvidencePages, SegmentPages
from dcss.report.html.sets import GuestSets
from dcss.report.html.source import ReportSource
from dcss.report.measure_view import share_of
from dcss.report.quoting import escaped
from dcss.results import MeasureResult

_SHARED = {None: None, False: 0, True: 1}


def payload(source: ReportSource, evidence: EvidencePages | None) -> dict[str, Any]:
    """Return the data of a report as a JSON object; what a source lacks is null in it."""
    names = guest_names(source, evidence)
    sets = GuestSets(names)
    files = file_rows(source.verify, evidence, sets)
    segments = [] if evidence is None else _segments(evidence, files, sets)
    return {
        "page_bytes": PAGE_SIZE,
        "huge_pages": HUGE_PAGES,
        "guests": {**_guests(names, source.measure), "host": _host_names(names, source, evidence)},
        "segments": segments,
        "files": _files(files),
        "uses": _uses(names, source, evidence),
        "sets": sets.encoded(),  # last: by now it has them all
    }


def guest_names(source: ReportSource, evidence: EvidencePages | None) -> list[str]:
    """Return the guests that any of the sources names: those of measure in their order, then the others."""
    names: dict[str, None] = {}
    if source.measure is not None:
        names.update((guest.name, None) for guest in source.measure.guests)
    if evidence is not None:
        names.update((guest, None) for guest in evidence.guests)
    if source.verify is not None:
        for guests in {file.guests for file in source.verify.files}:  # thousands of files have the same
            names.update(dict.fromkeys(guests))
    return list(names)


def _guests(names: Sequence[str], measure: MeasureResult | None) -> dict[str, Any]:
    accounts = {} if measure is None else {account.name: account for account in measure.guests}
    found = [accounts.get(name) for name in names]
    shares = [None if account is None else share_of(account) for account in found]
    return {
        "name": [escaped(name) for name in names],
        "engine": [None if account is None else account.engine for account in found],
        "private": [None if share is None else share.private_bytes for share in shares],
        "shared": [None if share is None else share.shared_bytes for share in shares],
        "copies": [None if share is None else share.copies_bytes for share in shares],
        "measured": measure is not None,
    }


def _host_names(names: Sequence[str], source: ReportSource, evidence: EvidencePages | None) -> list[str | None] | None:
    """Return the host of each guest; None where the results are about one host."""
    segments = () if evidence is None else evidence.segments
    host_of = {guest: escaped(each.host) for each in segments if each.host is not None for guest in each.used_by}
    host_of |= {
        guest.name: escaped(host.name)
        for host in source.hosts
        if host.measure is not None
        for guest in host.measure.guests
    }
    return [host_of.get(name) for name in names] if source.hosts else None


def _segments(evidence: EvidencePages, files: Sequence[FileRow], sets: GuestSets) -> list[dict[str, Any]]:
    number_of = {(row.segment, row.path): number for number, row in enumerate(files)}
    return [_segment(segment, number_of, sets) for segment in evidence.segments]


def _segment(segment: SegmentPages, number_of: dict[tuple[str, str], int], sets: GuestSets) -> dict[str, Any]:
    """Return the layers of a segment's pages: file (0: none), set of guests, resident; and its pieces of 2 MiB."""
    in_file = np.zeros(segment.pages, np.int64)
    for file in segment.files:
        in_file[file.pages] = number_of[file_key(segment, file.path)] + 1
    counts = segment.map_counts
    differing = None if counts is None else int(np.count_nonzero((counts != segment.entries) & (segment.frames > 0)))
    return {
        "name": escaped(segment.label),
        "host": None if segment.host is None else escaped(segment.host),
        "pages": segment.pages,
        "file": encode_runs(in_file),
        "set": encode_runs(sets.numbers_of_pages(segment.used_by, segment.pages)),
        "resident": encode_runs(segment.present.astype(np.int64)),
        "huge_mappings": encode_numbers(segment.huge_mappings),
        "huge_frame": encode_numbers(segment.in_huge_frame.astype(np.int64)),
        "frames_known": counts is not None,
        "entries": int(segment.entries.sum()),
        "pages_counted_otherwise": differing,
    }


def _files(files: Sequence[FileRow]) -> dict[str, Any]:
    directories: dict[str, int] = {}
    places, names = [], []
    for row in files:
        directory, name = split(row.path)
        places.append(directories.setdefault(directory, len(directories)))
        names.append(escaped(name))
    segments = {name: number for number, name in enumerate(sorted({row.segment for row in files}))}
    return {
        "directories": [escaped(directory) for directory in directories],
        "directory": encode_column(places),
        "name": names,
        "segments": [escaped(name) for name in segments],
        "segment": encode_column(segments[row.segment] for row in files),
        "pages": encode_column(row.pages for row in files),
        "checked": encode_column(row.checked_pages for row in files),
        "frames": encode_column(row.distinct_frames for row in files),
        "shared": encode_column(_SHARED[row.shared] for row in files),
        "set": encode_column(row.guests for row in files),
        "runs": encode_column(row.runs for row in files),
    }


def _uses(names: Sequence[str], source: ReportSource, evidence: EvidencePages | None) -> dict[str, Any] | None:
    """Return how many pages of each segment each guest uses: from the evidence, else by the files that it maps."""
    # On a fleet's hosts a segment of one name has the same content, and a guest is on one of them.
    if evidence is not None:
        counted: dict[str, dict[str, int]] = {}
        for segment in evidence.segments:
            pages = {guest: int(np.count_nonzero(used)) for guest, used in segment.used_by.items()}
            counted.setdefault(segment.name, {}).update(pages)
        return _matrix(names, counted, exact=True)
    if source.verify is None:
        return None
    results = [host.verify for host in source.hosts] if source.hosts else [source.verify]
    mapped: dict[str, dict[str, int]] = {}
    for file in (file for result in results if result is not None for file in result.files):
        pages = mapped.setdefault(file.segment, {})
        for guest in file.guests:
            pages[guest] = pages.get(guest, 0) + file.pages
    return _matrix(names, mapped, exact=False)


def _matrix(names: Sequence[str], pages: dict[str, dict[str, int]], *, exact: bool) -> dict[str, Any]:
    cells = [encode_column(by_guest.get(name, 0) for name in names) for by_guest in pages.values()]
    return {"segments": [escaped(name) for name in pages], "pages": cells, "exact": exact}
