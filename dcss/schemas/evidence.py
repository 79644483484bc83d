"""The records of an evidence file, one a line; docs/measurement.md says what they mean."""

from typing import Literal, NotRequired, TypedDict

from dcss.account.targets import Origin
from dcss.results import Evidence, Verdict


class SystemRecord(TypedDict):
    """The first record: whose evidence this is."""

    record: Literal["system"]
    system: str
    evidence: Evidence
    page_bytes: int


class GuestRecord(TypedDict):
    """A guest, or a process that was inspected; `window` and `user_area` are a start and an end."""

    record: Literal["guest"]
    guest: str
    engine: str
    expect: str | None
    pids: list[int]
    window: list[int]
    user_area: list[int]
    in_place: bool
    buffering: bool
    standalone: bool
    non_shared: list[str]


class FileOfSegment(TypedDict):
    """A file of a segment, and the pages of the segment that hold its data."""

    path: str
    pages: list[int]
    damage: NotRequired[str]


class SegmentRecord(TypedDict):
    """A segment, with CP's frame of each page, and how often the kernel says that it is mapped."""

    record: Literal["segment"]
    segment: str
    shm: str
    type: str
    pages: int
    present: list[int]
    frames: list[int]
    map_counts: list[int] | None
    files: list[FileOfSegment]
    own_runs: list[list[int]]
    joined: list[str]


class MappedRange(TypedDict):
    """One mapping of a segment: the frame of each page, 0 where none is present or shown."""

    address: int
    permissions: str
    segment_page: int
    frames: list[int]
    present: list[int]


class MappingsRecord(TypedDict):
    """One process's mappings of one segment."""

    record: Literal["mappings"]
    pid: int
    role: str
    segment: str
    mappings: list[MappedRange]


class StrangerRecord(TypedDict):
    """Memory in a guest's ranges that is of no segment."""

    record: Literal["stranger"]
    guest: str
    pid: int
    address: int
    pages: int
    path: str


class DeniedRecord(TypedDict):
    """Why the books of a guest could not be read."""

    record: Literal["denied"]
    guest: str
    reason: str


class SearchRecord(TypedDict):
    """How many pages of a process were searched for copies."""

    record: Literal["search"]
    pid: int
    role: str
    pages: int


class CopyRecord(TypedDict):
    """Copies of a file's pages, or of metadata, in one piece of memory."""

    record: Literal["copy"]
    holder: str
    origin: Origin
    segment: str
    path: str | None
    pages: int
    where: str
    merged_pages: int | None


class OpenRecord(TypedDict):
    """A claim that was left open whatever the last look saw."""

    record: Literal["open"]
    claim: str
    reason: str


class ClaimRecord(TypedDict):
    """A claim as it was judged."""

    record: Literal["claim"]
    claim: str
    applies: bool
    holds: bool | None
    detail: str


class VerdictRecord(TypedDict):
    """The last record."""

    record: Literal["verdict"]
    verdict: Verdict
    limits: list[str]


EvidenceRecord = (
    SystemRecord
    | GuestRecord
    | SegmentRecord
    | MappingsRecord
    | StrangerRecord
    | DeniedRecord
    | SearchRecord
    | CopyRecord
    | OpenRecord
    | ClaimRecord
    | VerdictRecord
)
