"""The rows of the table of files: what was proved of each, and which of them no guest uses."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dcss.report.html.pages import EvidencePages, SegmentPages, name_on
from dcss.report.html.sets import GuestSets
from dcss.results import FileProof, VerifyResult


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file; `shared` is None where no guest that shares has mapped it, and `runs` where its pages are not known."""

    segment: str
    path: str
    pages: int
    checked_pages: int | None
    distinct_frames: int | None
    shared: bool | None
    guests: int  # a number of GuestSets
    runs: int | None


def file_rows(verify: VerifyResult | None, evidence: EvidencePages | None, sets: GuestSets) -> list[FileRow]:
    """Return one row for each file that verify or the evidence names, sorted by segment and path."""
    proofs = {} if verify is None else {(proof.segment, proof.path): proof for proof in verify.files}
    found = {} if evidence is None else dict(_evidence_files(evidence))
    rows = [_row(key, proofs.get(key), found.get(key), sets) for key in proofs.keys() | found.keys()]
    return sorted(rows, key=lambda row: (row.segment, row.path))


def file_key(segment: SegmentPages, path: str) -> tuple[str, str]:
    """Return the name of a file's segments, joined by colons as in the results of verify, and its path."""
    return name_on(":".join(segment.joined), segment.host), path


def _evidence_files(evidence: EvidencePages) -> Iterator[tuple[tuple[str, str], tuple[int, int]]]:
    """Yield each file's key, pages and runs; one that lies in several segments has them in each."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for segment in evidence.segments:
        for file in segment.files:
            key = file_key(segment, file.path)
            pages, runs = found.get(key, (0, 0))
            more = int(np.count_nonzero(np.diff(file.pages) != 1)) + 1 if len(file.pages) else 0
            found[key] = (pages + len(file.pages), runs + more)
    yield from found.items()


def _row(key: tuple[str, str], proof: FileProof | None, found: tuple[int, int] | None, sets: GuestSets) -> FileRow:
    segment, path = key
    runs = None if found is None else found[1]
    if proof is None:
        return FileRow(segment, path, 0 if found is None else found[0], None, None, None, 0, runs)
    return FileRow(
        proof.segment,
        proof.path,
        proof.pages,
        proof.checked_pages,
        proof.distinct_frames,
        proof.shared,
        sets.number_of(proof.guests),
        runs,
    )
