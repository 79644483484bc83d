"""What an evidence file says of each page of a segment: which guests use it, in which frame and which file it is."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcss.abi.page import PAGE_SIZE
from dcss.errors import ConfigError
from dcss.host.files import open_regular

HUGE_PAGES = (2 << 20) // PAGE_SIZE  # pages in one huge page
_GZIP_MAGIC = b"\x1f\x8b"
_MAPPINGS = b', "mappings": '
_GUEST_ROLES_NOT = frozenset({"cp", "other"})

if TYPE_CHECKING:
    from io import BufferedReader

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EvidenceFileRow:
    """One file of a segment's file system: its path, decoded with os.fsdecode, and the segment pages of its data."""

    path: str
    pages: Numbers


@dataclass(slots=True)
class SegmentPages:
    """The pages of one segment.

    `used_by` has for each guest which pages it uses: one array for guests that use the same. `entries` counts the
    page-table entries found for each page, `map_counts` is what the kernel counts. `huge_mappings` counts for each
    2 MiB the guests whose mapping a huge page fits into, and `in_huge_frame` says whether its frames are one.
    `host` is that of a fleet on which the pages are.
    """

    name: str
    joined: tuple[str, ...]
    present: Flags
    frames: Numbers
    map_counts: Numbers | None
    files: tuple[EvidenceFileRow, ...]
    used_by: dict[str, Flags] = field(default_factory=dict)
    entries: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    huge_mappings: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    compared: int = 0
    differing: int = 0
    host: str | None = None

    @property
    def label(self) -> str:
        """Return the segment's name, and its host's in a fleet."""
        return name_on(self.name, self.host)

    @property
    def pages(self) -> int:
        """Return how many pages the segment has."""
        return len(self.present)

    @property
    def in_huge_frame(self) -> Flags:
        """Return for each whole 2 MiB whether its frames are 512 in a row that begin at a multiple of 512."""
        whole = self.pages // HUGE_PAGES
        frames = self.frames[: whole * HUGE_PAGES].reshape(whole, HUGE_PAGES)
        in_a_row = (np.diff(frames, axis=1) == 1).all(axis=1)
        return np.asarray(in_a_row & (frames[:, 0] % HUGE_PAGES == 0) & (frames[:, 0] > 0), np.bool_)


def name_on(name: str, host: str | None) -> str:
    """Return what something is called that each host of a fleet may have."""
    return name if host is None else f"{name} on {host}"


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """A file of evidence that was read, its digest, and the host of a fleet that it is about."""

    name: str
    sha256: str
    records: int
    host: str | None = None


@dataclass(frozen=True, slots=True)
class EvidencePages:
    """What evidence says of a system, or of a fleet, which has a file for each of its hosts: guests and segments."""

    files: tuple[EvidenceFile, ...]
    system: str
    level: str
    guests: tuple[str, ...]
    segments: tuple[SegmentPages, ...]


@dataclass(frozen=True, slots=True)
class _Guest:
    """A guest's ranges of host addresses, as the evidence has them."""

    user_area: tuple[int, int]
    in_place: bool


@dataclass(frozen=True, slots=True)
class _Mapped:
    """What one text of mappings says about a segment's pages; guests that share have the same text."""

    used: Flags
    in_frame: Numbers
    compared: int
    differing: int
    huge: Flags


def read_evidence(path: Path, name: str | None = None) -> EvidencePages:
    """Read an evidence file, compressed or not, in one pass. Raises ConfigError, OSError."""
    name = str(path) if name is None else name
    reader = _Reader()
    with open(open_regular(path), "rb") as plain:
        sha256 = hashlib.file_digest(plain, "sha256").hexdigest()
        plain.seek(0)
        _read_records(plain, reader, name)
    return EvidencePages(
        (EvidenceFile(name, sha256, reader.records),),
        reader.system,
        reader.level,
        tuple(reader.guests),
        tuple(reader.finished()),
    )


def _read_records(plain: "BufferedReader", reader: "_Reader", name: str) -> None:
    try:
        compressed = plain.peek(2)[:2] == _GZIP_MAGIC
        with gzip.GzipFile(fileobj=plain) if compressed else plain as lines:
            for line in lines:
                reader.add(line)
    except (ValueError, KeyError, TypeError, IndexError, EOFError, gzip.BadGzipFile) as error:
        at = reader.records + 1
        raise ConfigError(f"{name}: line {at}: found {error!r:.80}, wanted a record of an evidence file") from error
    if not reader.complete:
        raise ConfigError(f"{name}: found no verdict at the end, wanted a complete evidence file")


class _Reader:
    """Collects the records of one evidence file."""

    def __init__(self) -> None:
        self.system, self.level, self.records, self.complete = "", "", 0, False
        self.guests: dict[str, _Guest] = {}
        self._segments: dict[str, SegmentPages] = {}
        self._seen: dict[bytes, _Mapped] = {}
        self._times: dict[tuple[str, bytes], int] = {}

    def add(self, line: bytes) -> None:
        """Add one record."""
        head, separator, mappings = line.partition(_MAPPINGS)
        if separator and head.startswith(b'{"record": "mappings"'):
            self._add_mappings(json.loads(head + b"}"), mappings)
        else:
            self._add_record(json.loads(line))
        self.records += 1

    def _add_record(self, record: Mapping[str, Any]) -> None:
        match record["record"]:
            case "system":
                self.system, self.level = str(record["system"]), str(record["evidence"])
            case "guest":
                start, end = record["user_area"]
                self.guests[record["guest"]] = _Guest((start, end), bool(record.get("in_place")))
            case "segment":
                self._segments[record["segment"]] = _segment(record)
            case "verdict":
                self.complete = True

    def _add_mappings(self, head: Mapping[str, Any], text: bytes) -> None:
        segment, role = self._segments[head["segment"]], str(head["role"])
        guest = self.guests.get(role) if role not in _GUEST_ROLES_NOT else None
        key = hashlib.blake2b(b"%s\0%r\0%s" % (segment.name.encode(), guest, text), digest_size=16).digest()
        mapped = self._seen.get(key)
        if mapped is None:
            mapped = self._seen[key] = _mapped(segment, guest, json.loads(text.rstrip()[:-1]))
        self._times[segment.name, key] = self._times.get((segment.name, key), 0) + 1
        if guest is not None:
            earlier = segment.used_by.get(role)  # a guest's further processes
            segment.used_by[role] = mapped.used if earlier is None else earlier | mapped.used

    def finished(self) -> Iterator[SegmentPages]:
        """Yield the segments, with what all processes together have."""
        for segment in self._segments.values():
            segment.entries = np.zeros(segment.pages, np.int64)
            segment.huge_mappings = np.zeros(segment.pages // HUGE_PAGES, np.int64)
            for (name, key), times in self._times.items():
                if name == segment.name:
                    mapped = self._seen[key]
                    segment.entries += mapped.in_frame * times
                    segment.huge_mappings += mapped.huge * times
                    segment.compared += mapped.compared * times
                    segment.differing += mapped.differing * times
            yield segment


def _segment(record: Mapping[str, Any]) -> SegmentPages:
    counts = record["map_counts"]
    files = tuple(EvidenceFileRow(file["path"], np.array(file["pages"], np.int64)) for file in record["files"])
    return SegmentPages(
        record["segment"],
        tuple(record.get("joined") or (record["segment"],)),
        np.array(record["present"], np.bool_),
        np.array(record["frames"], np.int64),
        None if counts is None else np.array(counts, np.int64),
        files,
    )


def _mapped(segment: SegmentPages, guest: _Guest | None, mappings: list[Mapping[str, Any]]) -> _Mapped:
    """Return what the mappings of one process say; `guest` is None for CP and for what guests are forked from."""
    used, in_frame = np.zeros(segment.pages, np.bool_), np.zeros(segment.pages, np.int64)
    huge = np.zeros(segment.pages // HUGE_PAGES, np.bool_)
    compared = differing = 0
    for mapping in mappings:
        first = int(mapping["segment_page"])
        frames = np.array(mapping["frames"], np.int64)
        present = np.array(mapping["present"], np.bool_)
        last = first + len(frames)
        same = present & (frames == segment.frames[first:last])
        in_frame[first:last] += same
        if guest is None or not _is_use(mapping, guest):
            continue
        used[first:last] |= present
        compared += int(np.count_nonzero(present))
        differing += int(np.count_nonzero(present & ~same))
        if (int(mapping["address"]) // PAGE_SIZE - first) % HUGE_PAGES == 0:
            huge[-(-first // HUGE_PAGES) : last // HUGE_PAGES] = True
    return _Mapped(used, in_frame, compared, differing, huge)


def _is_use(mapping: Mapping[str, Any], guest: _Guest) -> bool:
    """Return True for a mapping of files, or of a segment that is loaded privately; others only look at metadata."""
    start, end = guest.user_area
    return start <= int(mapping["address"]) < end or guest.in_place or str(mapping["permissions"]).endswith("p")
