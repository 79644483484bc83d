"""What a sweep finds, as plain data: a row for each configuration, and the whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from dcss.documents import JsonObject, to_document
from dcss.results import Result, Verdict

RowOutcome = Literal["done", "failed", "timed-out", "lost"]


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What a row has of `dcss run`: sums over the guests, of all segments, and of the system."""

    verdict: Verdict | None = None
    guest_count: int | None = None
    failed_guests: int | None = None
    publish_seconds: float | None = None
    ready_seconds: float | None = None
    verify_cpu_seconds: float | None = None
    private_bytes: int | None = None
    copies_bytes: int | None = None
    segment_bytes: int | None = None
    with_sharing_bytes: int | None = None
    without_sharing_bytes: int | None = None
    saved_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class KernelFigures:
    """What a row has of `dcss kernel-test`: the kernel's release, and how many checks came out how."""

    release: str | None = None
    checks: int | None = None
    checks_ok: int | None = None
    checks_skipped: int | None = None
    checks_bad: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A line of the output: one configuration in one repeat. A column for each key of the matrix stands beside these.

    `outcome` is done where the command found something, be it refuted; failed where a part of the system failed;
    timed-out after the time limit; lost where its worker was. `seconds` is what the last of `attempts` took, without
    the `waited_seconds` until nothing else of a sweep ran on the worker. At most `at_once` configurations ran at the
    same time on the worker, and `host_at_once` on its host: figures are undisturbed where both are 1.
    """

    sweep: str
    command: str
    digest: str
    number: int
    repeat: int
    outcome: RowOutcome
    exit_status: int | None
    attempts: int
    error: str | None
    time: str
    seconds: float | None
    waited_seconds: float | None
    worker: str
    host: str | None
    at_once: int
    host_at_once: int
    host_kernel: str | None
    dcss: str


_FIRST: Final = ("sweep", "command", "digest", "number", "repeat")


def sweep_columns(command: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a sweep's rows."""
    figures = RunFigures if command == "run" else KernelFigures
    others = [each.name for kind in (SweepRow, figures) for each in fields(kind)]
    return (*_FIRST, *keys, *(name for name in others if name not in _FIRST))


def row_of(row: SweepRow, keys: dict[str, Any], figures: RunFigures | KernelFigures) -> JsonObject:
    """Return a line of the output: what it is, what was set, and what was found."""
    document = to_document(row)
    first = {name: document.pop(name) for name in _FIRST}
    return {**first, **keys, **document, **to_document(figures)}


@dataclass(frozen=True, slots=True)
class SweepResult(Result):
    """A sweep as far as it is: `left` configurations have no row yet."""

    sweep: str
    command: str
    output: str
    configurations: int
    done: int
    failed: int
    left: int
    keys: tuple[str, ...]
    found: tuple[dict[str, Any], ...] = field(metadata={"name": "rows"})

    _TABLES = ("rows",)

    def rows(self, table: str | None = None) -> list[JsonObject]:
        """Return the rows."""
        self._table(table)
        return list(self.found)

    def columns(self, table: str | None = None) -> tuple[str, ...]:
        """Return the columns of the rows, also where there is none."""
        self._table(table)
        return sweep_columns(self.command, self.keys)
