"""What the commands of a fleet find, as plain data."""

from dataclasses import dataclass
from typing import Any

from dcss.config.plan import PlacementRule
from dcss.documents import JsonObject, columns_of, row_of, rows_of, table_columns
from dcss.results import MeasureResult, Result, SystemStatus, Verdict, VerifyResult


@dataclass(frozen=True, slots=True)
class PlacedGuests:
    """Guests of one entry on one host: how many, and the names of the first and the last."""

    entry: str
    guests: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What one host gets. `needed_bytes` is private memory, the segments and what CP costs, all of them together."""

    host: str
    guests: int
    placed: tuple[PlacedGuests, ...]
    segments: tuple[str, ...]
    private_bytes: int
    segment_bytes: int
    needed_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """What a host lacks to take one more guest of an entry of which not all are placed.

    `lacks_bytes` is None where its limit of guests is reached, and memory is not what is missing.
    """

    host: str
    entry: str
    guests: int
    needed_bytes: int
    free_bytes: int
    lacks_bytes: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class FleetSegment:
    """A segment: its size, and on how many hosts it is in memory, each time once."""

    name: str
    bytes: int
    hosts: int


@dataclass(frozen=True, slots=True)
class GrowthStep:
    """A fleet with a part of the guests: what it takes, and how long planning it took."""

    guests: int
    hosts: int
    private_bytes: int
    segment_bytes: int
    needed_bytes: int
    fits: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class FleetPlanResult(Result):
    """Where a fleet's guests would run. `estimates` says which figures were not measured, and where they are from."""

    system: str
    config: str
    placement: PlacementRule
    fits: bool
    guests: int
    hosts: tuple[HostLoad, ...]
    segments: tuple[FleetSegment, ...]
    unplaced_guests: int
    lacks: tuple[Shortage, ...]
    estimates: tuple[str, ...]
    growth: tuple[GrowthStep, ...]
    seconds: float

    _TABLES = ("hosts", "segments", "lacks", "growth")


@dataclass(frozen=True, slots=True)
class FleetHost:
    """One host's answer: the document of its `dcss` command, or the reason why there is none.

    `adopted` means that its system ran already, as it should.
    """

    host: str
    system: str
    adopted: bool
    reason: str | None
    document: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """What all hosts pay together: a segment counts once on each host that has it. None: a host could not be seen."""

    guests: int
    private_bytes: int | None
    segment_bytes: int | None
    saved_bytes: int | None


@dataclass(frozen=True, slots=True)
class FleetResult(Result):
    """What each host of a fleet answered; `sent_bytes` is what segments took to send, `totals` what measure adds up."""

    system: str
    hosts: tuple[FleetHost, ...]
    sent_bytes: int = 0
    verdict: Verdict | None = None
    totals: FleetTotals | None = None

    _TABLES = ("guests", "segments", "others", "claims", "files", "hosts")

    def rows(self, table: str | None = None) -> list[JsonObject]:
        """Return the hosts with their verdicts, or a table of their documents: each row begins with its host."""
        table = self._table(table)
        if table == "hosts":
            return [{**row_of(host), "verdict": (host.document or {}).get("verdict")} for host in self.hosts]
        return [
            {"host": host.host, **row} for host in self.hosts for row in rows_of((host.document or {}).get(table, ()))
        ]

    def columns(self, table: str | None = None) -> tuple[str, ...]:
        """Return the names that each row of a table has, also where no host has any."""
        table = self._table(table)
        if table == "hosts":
            return (*columns_of(FleetHost), "verdict")
        if table in {"claims", "files"}:
            return ("host", *table_columns(VerifyResult, table))
        measured = self.totals is not None or table == "others"
        return ("host", *table_columns(MeasureResult if measured else SystemStatus, table))


@dataclass(frozen=True, slots=True)
class FleetRunResult(Result):
    """A fleet from start to end: what each step found, and the verdict of them all."""

    system: str
    verdict: Verdict
    up: FleetResult
    verify: FleetResult
    measure: FleetResult
    down: FleetResult
