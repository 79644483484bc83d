"""The results of verify, measure, run and ps, as plain data; dcss.documents turns them into JSON and back.

Fields are named as in the JSON documents, whose names are fixed. None means that a value could not be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from dcss.documents import JsonObject, columns_of, row_of, table_columns, to_document, to_json
from dcss.errors import ConfigError, RefutedError, UnprovedError

Evidence = Literal["frames", "mappings"]
Verdict = Literal["verified", "refuted", "unproved"]
Boot = Literal["clone", "full"]
Accelerator = Literal["kvm", "tcg"]  # of a virtual machine


def sum_of(sizes: Sequence[int | None]) -> int | None:
    """Return a sum; unknown plus anything is unknown."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


class Result:
    """A result that is a document of its own: as JSON, and as tables."""

    __slots__ = ()
    _TABLES: ClassVar[tuple[str, ...]] = ()

    def to_document(self) -> JsonObject:
        """Return the JSON document as plain data."""
        return to_document(self)  # type: ignore[arg-type] # a data class

    def to_json(self) -> str:
        """Return the JSON document as text."""
        return to_json(self.to_document())

    def rows(self, table: str | None = None) -> list[JsonObject]:
        """Return a table as plain dicts, the first one where none is named.

        A row's keys are the names of the JSON document; those of objects within it stand beside the others. Raises
        ConfigError where there is no such table.
        """
        return [row_of(entry) for entry in getattr(self, self._table(table))]

    def columns(self, table: str | None = None) -> tuple[str, ...]:
        """Return the names that each row of a table has, also where it has no row. Raises ConfigError as `rows`."""
        return table_columns(type(self), self._table(table))

    def _table(self, name: str | None) -> str:
        """Return the name of a table, that of the first one for None. Raises ConfigError where there is none of it."""
        if name is None and self._TABLES:
            return self._TABLES[0]
        if name is None or name not in self._TABLES:
            tables = f"one of {', '.join(self._TABLES)}" if self._TABLES else "none: it has no tables"
            raise ConfigError(f"table of {type(self).__name__}: found {name!r}, wanted {tables}")
        return name


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim about sharing; `holds` is None where what could be seen does not decide it, or nothing to judge exists.

    `applies` is false where the system has nothing that the claim is about: then it has no part in the verdict.
    """

    claim: str
    holds: bool | None
    detail: str
    applies: bool = True


@dataclass(frozen=True, slots=True)
class FileProof:
    """One file of a segment that sharing guests have mapped; `path` is decoded with os.fsdecode."""

    segment: str
    path: str
    pages: int
    checked_pages: int
    guests: tuple[str, ...]
    distinct_frames: int | None
    shared: bool


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where and when a result was found: the time in ISO 8601, in UTC; the machine; the versions that matter to it."""

    time: str
    host: str
    kernel: str
    architecture: str
    cpus: int
    memory_bytes: int
    page_bytes: int
    python: str
    dcss: str


@dataclass(frozen=True, slots=True)
class VerifyResult(Result):
    """The verdict: verified if every claim that applies holds, refuted if one is refuted, unproved otherwise.

    `limits` lists what could not be seen and why; `hints` what to look at first: likely causes, guests that failed.
    """

    system: str
    verdict: Verdict
    evidence: Evidence
    claims: tuple[Claim, ...]
    files: tuple[FileProof, ...]
    limits: tuple[str, ...] = ()
    cpu_seconds: float = 0.0
    hints: tuple[str, ...] = ()
    provenance: Provenance | None = None

    _TABLES = ("claims", "files")

    def raise_if_refuted(self) -> None:
        """Raise RefutedError, with a line for each claim that is refuted."""
        if self.verdict == "refuted":
            raise RefutedError(*self._findings(holds=False))

    def raise_unless_verified(self) -> None:
        """Raise RefutedError, or UnprovedError with a line for each claim that could not be judged."""
        self.raise_if_refuted()
        if self.verdict != "verified":
            raise UnprovedError(*(self._findings(holds=None) or [f"system {self.system}: unproved: no guest was seen"]))

    def _findings(self, *, holds: bool | None) -> list[str]:
        what = "refuted" if holds is False else "unproved"
        return [
            f"system {self.system}: {what}: {claim.claim}: {claim.detail}"
            for claim in self.claims
            if claim.applies and claim.holds is holds
        ]


@dataclass(frozen=True, slots=True)
class GuestCounters:
    """What the guest itself uses, which is what z/VM would charge it for. An engine may not know its kernel's part.

    `module_bytes` are the kernel and modules that it loaded from files: copies, also where files are used in place.
    """

    xip_bytes: int | None
    page_cache_bytes: int | None
    buffer_bytes: int | None
    anonymous_bytes: int | None
    module_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class HostCosts:
    """What this machine pays for the guest's processes, emulator included."""

    rss_bytes: int | None
    pss_bytes: int | None
    uss_bytes: int | None
    page_table_bytes: int | None


@dataclass(frozen=True, slots=True)
class MountAccess:
    """How file bytes of one mount are reached, by the guest's own word.

    `wanted` and `mode` are each xip, dax, page-cache, ramdisk or mtd; they differ where the disk cannot be
    addressed, so that files are copied through the page cache instead.
    """

    device: str
    at: str
    wanted: str
    mode: str

    @property
    def fell_back(self) -> bool:
        """It is not what was asked for."""
        return self.wanted != self.mode


@dataclass(frozen=True, slots=True)
class GuestAccount:
    """One guest: what it uses by its own count, and what it costs the host.

    `mapped_segment_bytes` are the distinct segment pages that it uses in place, as the host's page tables show them:
    what totals and claims count. `guest.xip_bytes` differs where the guest kernel has page tables of its own.
    `written_segment_bytes` is what it wrote in segments that it loads privately (ER, EW, EN, non-shared): copies of its
    own, which `host.uss_bytes` counts. A virtual machine has an `accelerator`, with the reason where that is tcg since
    kvm failed.
    """

    name: str
    engine: str
    pids: tuple[int, ...]
    storage_bytes: int
    guest: GuestCounters
    host: HostCosts
    written_segment_bytes: int | None = None
    mapped_segment_bytes: int | None = None
    mounts: tuple[MountAccess, ...] = ()
    accelerator: Accelerator | None = None
    accelerator_reason: str = ""

    @property
    def copies_bytes(self) -> int | None:
        """What it holds of files in its page cache, buffers and modules: a part of `host.uss_bytes`."""
        guest = self.guest
        if guest.page_cache_bytes is None or guest.buffer_bytes is None:
            return None
        return guest.page_cache_bytes + guest.buffer_bytes + (guest.module_bytes or 0)


@dataclass(frozen=True, slots=True)
class ProcessCosts:
    """What processes of the system cost that are no guest's: CP (without the segments), forkserver, template."""

    name: str
    pids: tuple[int, ...]
    host: HostCosts


@dataclass(frozen=True, slots=True)
class SegmentAccount:
    """One segment: its object in shared memory, what of it no guest maps, and how many guests have loaded it.

    `huge_bytes` is what of it lies in huge pages.
    """

    name: str
    shm: str
    bytes: int
    resident_bytes: int
    unused_bytes: int | None
    guests: int
    huge_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Over guests that share: what their segments keep resident; segment pages that each maps, summed; the difference.

    `saved_bytes` is negative where the segments keep more resident than copies would take.
    """

    with_sharing_bytes: int | None
    without_sharing_bytes: int | None
    saved_bytes: int | None


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """Free memory of the machine, before the first guest and now: MemFree plus the per-CPU lists of /proc/zoneinfo."""

    free_before_bytes: int
    free_after_bytes: int


@dataclass(frozen=True, slots=True)
class MeasureResult(Result):
    """What each guest costs, and what sharing saves."""

    system: str
    guests: tuple[GuestAccount, ...]
    segments: tuple[SegmentAccount, ...]
    totals: Totals
    machine: MachineMemory | None = None
    limits: tuple[str, ...] = ()
    others: tuple[ProcessCosts, ...] = ()
    provenance: Provenance | None = None

    _TABLES = ("guests", "segments", "others")


@dataclass(frozen=True, slots=True)
class GuestOutcome:
    """How one guest's run ended; if it failed, `log` is the end of its console output.

    `boot` is how it was started: as a clone of another guest of its entry, or in full, and `boot_reason` why so, where
    the configuration let it be cloned. It is None where the guest said nothing of it, since it ended before that.
    """

    name: str
    exit_status: int
    seconds: float
    log: str = ""
    boot: Boot | None = None
    boot_reason: str = ""


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Where a guest's start went: its process, its kernel, steps of its `run:` list. No second is in two of them.

    `fork` lasts from CP's request to the guest's first step; `populate` is mapping files with every page present.
    """

    fork: float = 0.0
    hypercalls: float = 0.0
    kernel: float = 0.0
    mount: float = 0.0
    map: float = 0.0
    populate: float = 0.0
    read: float = 0.0
    load: float = 0.0
    exec: float = 0.0
    other: float = 0.0


@dataclass(frozen=True, slots=True)
class GuestTimings:
    """One guest's start, from CP's request to its verdict; `boot` as in its outcome."""

    name: str
    boot: Boot | None
    seconds: float
    stages: StageSeconds


@dataclass(frozen=True, slots=True)
class RunTimings:
    """Where a run's start went. The interpreter that guests are forked from starts while segments are published."""

    publish_seconds: float
    interpreter_seconds: float | None
    guests: tuple[GuestTimings, ...]


@dataclass(frozen=True, slots=True)
class RunResult(Result):
    """What one `dcss run` found."""

    verify: VerifyResult
    measure: MeasureResult
    guests: tuple[GuestOutcome, ...]
    publish_seconds: float
    ready_seconds: float
    warnings: tuple[str, ...] = ()
    timings: RunTimings | None = None

    _TABLES = ("guests",)


@dataclass(frozen=True, slots=True)
class WayGuest:
    """What one guest pays for one way to file bytes: medians over the rounds.

    `seconds` is from its start to the end of its `run:` list, `cpu_seconds` what its processes took for that.
    """

    name: str
    seconds: float
    cpu_seconds: float | None
    private_bytes: int | None
    copies_bytes: int | None
    shared_bytes: int | None


@dataclass(frozen=True, slots=True)
class WayResult:
    """One workload by one way to file bytes: xip, mtd, page-cache, ramdisk, or ksm, which is page-cache and merging.

    `reason` says why it was not run; the figures are null then. `ready_seconds` is until all guests' lists have ended,
    `cpu_seconds` what all guests took, for ksm with ksmd. `memory_bytes` is what the machine pays: private memory of
    all guests, the segments, and for ksm the frames that it merged into.
    """

    way: str
    verdict: Verdict | None
    reason: str | None
    ready_seconds: float | None
    cpu_seconds: float | None
    private_bytes: int | None
    segment_bytes: int | None
    merged_bytes: int | None
    memory_bytes: int | None
    guests: tuple[WayGuest, ...]


@dataclass(frozen=True, slots=True)
class ComparisonResult(Result):
    """One workload by every way to file bytes, each in so many rounds, in turn."""

    system: str
    rounds: int
    ways: tuple[WayResult, ...]
    limits: tuple[str, ...] = ()
    provenance: Provenance | None = None

    _TABLES = ("ways", "guests")

    def rows(self, table: str | None = None) -> list[JsonObject]:
        """Return a table as Result.rows does; a row of `guests` has its way, one of `ways` no guests."""
        if table == "guests":
            return [{"way": way.way, **row_of(guest)} for way in self.ways for guest in way.guests]
        return [{name: value for name, value in row.items() if name != "guests"} for row in Result.rows(self, table)]

    def columns(self, table: str | None = None) -> tuple[str, ...]:
        """Return the names that each row of a table has, as Result.columns does."""
        if table == "guests":
            return ("way", *columns_of(WayGuest))
        return tuple(name for name in Result.columns(self, table) if name != "guests")


@dataclass(frozen=True, slots=True)
class GuestStatus:
    """One guest now. `pid` is None where it has no process; `exit_status` and `reason` are None unless it failed."""

    name: str
    engine: str
    state: str
    since: str
    pid: int | None
    segments: tuple[str, ...]
    restarts: int
    exit_status: int | None
    reason: str | None
    log: str


@dataclass(frozen=True, slots=True)
class SegmentStatus:
    """One version of a segment that has an object in shared memory, and how many guests use it."""

    name: str
    file: int
    file_class: str = field(metadata={"name": "class"})
    shm: str
    bytes: int
    guests: int


@dataclass(frozen=True, slots=True)
class GuestActivity:
    """One guest in one look of `dcss top`; what is by the second is None at the first look, and after a new start."""

    name: str
    engine: str
    state: str
    pid: int | None
    private_bytes: int | None
    growth_bytes_per_second: float | None
    hypercalls: int
    hypercalls_per_second: float | None
    restarts: int
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SegmentActivity:
    """One version of a segment in one look of `dcss top`."""

    name: str
    bytes: int
    resident_bytes: int | None
    guests: int


@dataclass(frozen=True, slots=True)
class CpActivity:
    """What CP itself costs; `cpu_percent` is of one processor, since the look before."""

    pid: int
    cpu_percent: float | None
    private_bytes: int | None
    requests: int


@dataclass(frozen=True, slots=True)
class SystemActivity(Result):
    """One look of `dcss top` at a running system; `time` is an instant in ISO 8601, in UTC."""

    system: str
    time: str
    state: str
    cp: CpActivity
    guests: tuple[GuestActivity, ...]
    segments: tuple[SegmentActivity, ...]


@dataclass(frozen=True, slots=True)
class SystemStatus(Result):
    """A running system now: its CP, its guests and its segments. `since` is an instant in ISO 8601, in UTC."""

    system: str
    state: str
    pid: int
    since: str
    config: str
    log: str
    guests: tuple[GuestStatus, ...]
    segments: tuple[SegmentStatus, ...]

    _TABLES = ("guests", "segments")


@dataclass(frozen=True, slots=True)
class OtherMapper(Result):
    """A process that maps an object besides those that were named."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class InspectedObject(Result):
    """A file or shared memory object that was looked at, or why not: `unread`.

    `pids` are the named processes that map it, `others` all others that can be seen. `one_frame_pages` counts the pages
    that two named processes or more have in one frame, `one_frame` says which: runs of (first page, pages).
    """

    path: str
    device: str | None
    inode: int | None
    bytes: int | None
    pids: tuple[int, ...]
    others: tuple[OtherMapper, ...]
    one_frame_pages: int | None
    one_frame: tuple[tuple[int, ...], ...]
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class InspectedProcess(Result):
    """One process: memory of its own, what it shares with any other, and both together; the program's name.

    `copied_bytes` is what its own memory holds of the objects, `merged_bytes` what of that KSM has merged.
    """

    pid: int
    name: str
    private_bytes: int | None
    shared_bytes: int | None
    total_bytes: int | None
    copied_bytes: int | None
    merged_bytes: int | None


@dataclass(frozen=True, slots=True)
class InspectResult(Result):
    """What named processes share, judged as guests are, and what each costs."""

    verify: VerifyResult
    measure: MeasureResult
    objects: tuple[InspectedObject, ...]
    processes: tuple[InspectedProcess, ...]

    _TABLES = ("objects", "processes")
