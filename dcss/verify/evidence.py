"""`verify --evidence FILE`: what was seen, one JSON document a line, so that anybody can compute the verdict again.

docs/measurement.md describes the records. Frame number 0 stands for a page that is not present, or not shown. Records
are streamed to a file beside FILE, which takes its place when the verdict is there: an error leaves the older file.
"""

import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.frames import map_counts
from dcss.account.maps import Vma
from dcss.account.memory_map import MappingGroup
from dcss.account.pagemap import Entries, Flags, frames_of, is_file, is_present
from dcss.account.space import ObjectPages
from dcss.account.targets import AddressRange, GuestTarget, SystemTarget
from dcss.host.files import check_replaceable, create_new, errors_named
from dcss.results import VerifyResult
from dcss.verify.private_pages import PrivatePages
from dcss.verify.segment_view import SegmentView

_NUMBERS_AT_ONCE = 2048  # encoding these keeps other threads waiting for less than a millisecond


class _Encoded(NamedTuple):
    """The mappings of one process as they were written last: guests that share have the same."""

    group: MappingGroup
    frames: Entries
    present: Flags
    text: str


class EvidenceFile(AbstractContextManager["EvidenceFile"]):
    """Writes the records of one look at a system; `begin` drops those of the look before."""

    def __init__(self, path: Path, system: SystemTarget, *, frames: bool) -> None:
        self._path = path
        self._system = system
        self._frames = frames
        self._partial: Path | None = None
        self._file: IO[bytes] | gzip.GzipFile | None = None
        self._encoded: dict[str, _Encoded] = {}

    def __exit__(self, *_: object) -> None:
        """Remove what is not complete."""
        with suppress(OSError):  # what cannot be written is of no use any more
            self._close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)

    def begin(self, segments: Sequence[SegmentView], cp_entries: Sequence[Entries]) -> None:
        """Begin: the system, its guests, and each segment with CP's frames and what the kernel counts for them."""
        self._open()
        self.add("system", system=self._system.name, evidence=self._level, page_bytes=PAGE_SIZE)
        for guest in self._system.guests:
            self.add("guest", **_guest(guest))
        name_of = {segment.target.shm_name: segment.name for segment in segments}
        for segment, entries in zip(segments, cp_entries, strict=True):
            frames = frames_of(entries)
            self.add(
                "segment",
                segment=segment.name,
                shm=segment.target.shm_name,
                type=segment.target.type.name,
                pages=segment.pages,
                present=is_present(entries),
                frames=frames,
                map_counts=map_counts(frames) if self._frames else None,
                files=_files(segment),
                own_runs=segment.target.own_runs,
                joined=[name_of[shm] for shm in segment.target.joined],
            )

    def denied(self, guest: str, reason: str) -> None:
        """Add that the books of a guest could not be read."""
        self.add("denied", guest=guest, reason=reason)

    def mappings(self, pid: int, role: str, segment: SegmentView, group: MappingGroup, found: ObjectPages) -> None:
        """Add one process's mappings of one segment: `role` is cp, other, or the guest's name."""
        if not group.vmas:
            return
        head = json.dumps({"record": "mappings", "pid": pid, "role": role, "segment": segment.name})
        self._write(f'{head[:-1]}, "mappings": {self._mappings_text(segment.name, group, found)}}}\n')

    def foreign_mappings(self, guest: str, pid: int, vmas: Sequence[Vma]) -> None:
        """Add what lies in a guest's ranges and is backed by no segment."""
        for vma in vmas:
            self.add("stranger", guest=guest, pid=pid, address=vma.start, pages=vma.pages, path=os.fsdecode(vma.path))

    def intruders(self, guest: str, pid: int, runs: Sequence[PrivatePages]) -> None:
        """Add the private pages that stand in a guest's user area; they have no path."""
        for run in runs:
            self.add("stranger", guest=guest, pid=pid, address=run.address, pages=run.pages, path="")

    def add(self, record: str, **fields: Any) -> None:
        """Add one record; arrays of numbers are encoded piece by piece."""
        for piece in _pieces({"record": record, **fields}):
            self._write(piece)
        self._write("\n")

    def finish(self, result: VerifyResult) -> None:
        """Add the verdict, and put the file into its place."""
        for claim in result.claims:
            self.add("claim", claim=claim.claim, applies=claim.applies, holds=claim.holds, detail=claim.detail)
        self.add("verdict", verdict=result.verdict, limits=result.limits)
        self._close()
        if self._partial is not None:
            self._partial.replace(os.path.realpath(self._path))
            self._partial = None

    def _mappings_text(self, segment: str, group: MappingGroup, found: ObjectPages) -> str:
        frames, present = _by_mapped_page(group, found)
        last = self._encoded.get(segment)
        if (
            last is None
            or last.group is not group
            or not np.array_equal(last.frames, frames)
            or not np.array_equal(last.present, present)
        ):
            last = _Encoded(group, frames, present, "".join(_pieces(_runs(group, frames, present))))
            self._encoded[segment] = last
        return last.text

    @property
    def _level(self) -> str:
        return "frames" if self._frames else "mappings"

    def _open(self) -> None:
        self._close()
        path = Path(os.path.realpath(self._path))
        check_replaceable(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        plain = open(create_new(partial, 0o666), "wb")  # noqa: SIM115 - `_close` closes it
        self._partial = partial
        self._file = _Compressed(plain) if self._path.suffix == ".gz" else plain

    def _write(self, text: str) -> None:
        assert self._file is not None, "begin comes first"
        try:
            self._file.write(text.encode())
        except OSError as error:  # no context manager: this is called for each piece
            error.filename = os.fspath(self._path)
            raise

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with errors_named(self._path):
                file.close()


class _Compressed(gzip.GzipFile):
    """A compressed file that closes the file below it."""

    def __init__(self, plain: IO[bytes]) -> None:
        self._plain = plain
        super().__init__(filename="", fileobj=plain, mode="wb", compresslevel=6)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._plain.close()


def _pieces(value: Any) -> Iterator[str]:
    """Encode as JSON, in pieces that are each made quickly."""
    if isinstance(value, np.ndarray):
        yield "["
        for start in range(0, len(value), _NUMBERS_AT_ONCE):
            numbers = value[start : start + _NUMBERS_AT_ONCE]
            text = ", ".join(map(str, (numbers.astype(np.uint8) if numbers.dtype == np.bool_ else numbers).tolist()))
            yield f", {text}" if start else text
        yield "]"
    elif isinstance(value, Mapping):
        yield "{"
        for index, (key, member) in enumerate(value.items()):
            yield f"{', ' if index else ''}{json.dumps(key)}: "
            yield from _pieces(member)
        yield "}"
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        for index, member in enumerate(value):
            yield ", " if index else "["
            yield from _pieces(member)
        yield "]"
    else:
        yield json.dumps(value)


def _by_mapped_page(group: MappingGroup, found: ObjectPages) -> tuple[Entries, Flags]:
    """Return the frame of each page of `group`, and whether it is present and still the object's, in one row."""
    sizes = group.end_pages - group.first_pages
    starts = np.cumsum(sizes) - sizes
    lengths = np.searchsorted(found.pages, group.end_pages) - np.searchsorted(found.pages, group.first_pages)
    places = found.pages + np.repeat(starts - group.first_pages, lengths)
    frames = np.zeros(int(sizes.sum()), np.uint64)
    present = np.zeros(len(frames), np.bool_)
    frames[places] = frames_of(found.entries)
    # A written copy is the process's own.
    present[places] = is_present(found.entries) & is_file(found.entries)
    return frames, present


def _runs(group: MappingGroup, frames: Entries, present: Flags) -> list[dict[str, Any]]:
    runs = []
    done = 0
    for vma, shift in zip(group.vmas, (group.first_pages + group.shift_pages).tolist(), strict=True):
        pages = slice(done, done + vma.pages)
        done += vma.pages
        runs.append(
            {
                "address": vma.start,
                "permissions": vma.permissions,
                "segment_page": shift,
                "frames": frames[pages],
                "present": present[pages],
            }
        )
    return runs


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
        "in_place": guest.in_place,
        "buffering": guest.buffering,
        "standalone": guest.standalone,
        "non_shared": sorted(guest.non_shared),
    }


def _files(segment: SegmentView) -> list[dict[str, Any]]:
    files = segment.files
    of_each = zip(files.paths, files.damage, files.starts.tolist(), files.counts.tolist(), strict=True)
    return [
        {"path": path, "pages": files.pages[start : start + count]} | ({"damage": damage} if damage else {})
        for path, damage, start, count in of_each
    ]
