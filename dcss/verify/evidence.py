"""`verify --evidence FILE`: what was seen, one JSON document a line, so that a doubter can compute the verdict again.

docs/measurement.md describes the records. Frame number 0 stands for a page that is not present, or not shown.
"""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.frames import map_counts
from dcss.account.maps import Vma
from dcss.account.pagemap import Entries, frames_of, is_file, is_present
from dcss.account.space import AddressSpace
from dcss.account.targets import AddressRange, GuestTarget, SystemTarget
from dcss.results import VerifyResult
from dcss.verify.segment_view import SegmentView


class Evidence:
    """Collects the records of one look at a system; a new look begins anew."""

    def __init__(self, system: SystemTarget, *, frames: bool) -> None:
        self._system = system
        self._frames = frames
        self._lines: list[str] = []

    def segments(self, segments: Sequence[SegmentView], cp_entries: Sequence[Entries]) -> None:
        """Begin: the system, its guests, and each segment with CP's frames and what the kernel counts for them."""
        # Counters that moved are looked at again: what was seen before does not count.
        self._lines.clear()
        self.add("system", system=self._system.name, evidence=self._level, page_bytes=PAGE_SIZE)
        for guest in self._system.guests:
            self.add("guest", **_guest(guest))
        for segment, entries in zip(segments, cp_entries, strict=True):
            frames = frames_of(entries)
            files = [{"path": path, "pages": pages} for path, pages in _files(segment)]
            self.add(
                "segment",
                segment=segment.name,
                shm=segment.target.shm_name,
                pages=segment.pages,
                present=is_present(entries).astype(int).tolist(),
                frames=frames.tolist(),
                map_counts=map_counts(frames).tolist() if self._frames else None,
                files=files,
            )

    def mappings(self, space: AddressSpace, role: str, segment: SegmentView, vmas: list[Vma]) -> None:
        """Add one process's mappings of one segment: `role` is cp, other, or the guest's name."""
        runs = []
        for vma in vmas:
            found = space.of_vmas([vma])
            frames = np.zeros(vma.pages, np.uint64)
            present = np.zeros(vma.pages, np.int64)
            places = found.pages - (vma.start >> PAGE_SHIFT)
            frames[places] = frames_of(found.entries)
            # Present and still the object's page, not a written copy.
            present[places] = is_present(found.entries) & is_file(found.entries)
            runs.append(
                {
                    "address": vma.start,
                    "permissions": vma.permissions,
                    "segment_page": vma.offset_bytes >> PAGE_SHIFT,
                    "frames": frames.tolist(),
                    "present": present.tolist(),
                }
            )
        if runs:
            self.add("mappings", pid=space.pid, role=role, segment=segment.name, mappings=runs)

    def foreign_mappings(self, guest: str, pid: int, vmas: list[Vma]) -> None:
        """Add what lies in a guest's ranges and is backed by no segment."""
        for vma in vmas:
            self.add("stranger", guest=guest, pid=pid, address=vma.start, pages=vma.pages, path=os.fsdecode(vma.path))

    def add(self, record: str, **fields: Any) -> None:
        """Add one record."""
        self._lines.append(json.dumps({"record": record, **fields}))

    def write(self, path: Path, result: VerifyResult) -> None:
        """Write all records and the verdict to `path`, compressed where it ends in .gz."""
        for claim in result.claims:
            self.add("claim", claim=claim.claim, holds=claim.holds, detail=claim.detail)
        self.add("verdict", verdict=result.verdict, limits=result.limits)
        data = "".join(line + "\n" for line in self._lines).encode()
        path.write_bytes(gzip.compress(data, 6) if path.suffix == ".gz" else data)

    @property
    def _level(self) -> str:
        return "frames" if self._frames else "mappings"


def _guest(guest: GuestTarget) -> dict[str, Any]:
    def bounds(addresses: AddressRange) -> list[int]:
        return [addresses.start, addresses.end]

    return {
        "guest": guest.name,
        "engine": guest.engine,
        "expect": guest.expect,
        "pids": guest.pids,
        "window": bounds(guest.window),
        "user_area": bounds(guest.user_area),
    }


def _files(segment: SegmentView) -> list[tuple[str, list[int]]]:
    files = segment.files
    return [
        (path, files.pages[start : start + count].tolist())
        for path, start, count in zip(files.paths, files.starts.tolist(), files.counts.tolist(), strict=True)
    ]
