"""What a report is made of: the JSON document that run, verify, measure or inspect printed, each alone or both."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dcss.documents import from_document
from dcss.errors import ConfigError
from dcss.host.files import open_regular
from dcss.results import GuestOutcome, MeasureResult, RunResult, VerifyResult

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Result = TypeVar("_Result", bound=DataclassInstance)

STDIN = "-"
WANTED = "what dcss run, verify, measure or inspect print with --json"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What only a run's document has: how its guests ended, and how long it took."""

    guests: tuple[GuestOutcome, ...]
    publish_seconds: float
    ready_seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportHost:
    """What one host of a fleet found; None is what it did not answer, for a `reason`."""

    name: str
    system: str
    reason: str | None
    verify: VerifyResult | None
    measure: MeasureResult | None


@dataclass(frozen=True, slots=True)
class ReportSource:
    """Results to report; None is what the document does not have.

    `about_processes` if inspect made it. `hosts` are those of a fleet, of which the results are the sum.
    """

    verify: VerifyResult | None
    measure: MeasureResult | None
    run: RunFacts | None = None
    about_processes: bool = False
    hosts: tuple[ReportHost, ...] = ()

    @property
    def system(self) -> str:
        """Return the name of the system that the results are about."""
        result = self.verify or self.measure
        return "" if result is None else result.system

    @property
    def limits(self) -> tuple[str, ...]:
        """Return what could not be seen, and why; a limit of both results stands there once."""
        found = [limit for result in (self.verify, self.measure) if result is not None for limit in result.limits]
        return tuple(dict.fromkeys(found))


def read_source(name: str) -> ReportSource:
    """Return the results in a file of JSON; the name `-` stands for stdin. Raises ConfigError, OSError."""
    return source_of(read_document(name), name)


def read_document(name: str, wanted: str = WANTED) -> Mapping[str, Any]:
    """Return the document in a file of JSON, or on stdin, which is no error's. Raises ConfigError, OSError."""
    try:
        document = json.loads(_read(name))
    except ValueError as error:
        raise ConfigError(f"{name}: found no JSON document ({error}), wanted {wanted}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{name}: found {type(document).__name__}, wanted an object: {wanted}")
    if isinstance(document.get("error"), Mapping):
        lines = document["error"].get("lines")
        said = lines[0] if isinstance(lines, list) and lines else "no reason"
        raise ConfigError(f"{name}: found the document of a command that failed ({said}), wanted {wanted}")
    return document


def source_of(document: Mapping[str, Any], where: str) -> ReportSource:
    """Return the results that a document has, by the fields that each has. Raises ConfigError."""
    verify = document.get("verify", document if "claims" in document else None)
    measure = document.get("measure", document if "totals" in document else None)
    if verify is None and measure is None:
        keys = ", ".join(sorted(map(str, document))[:8]) or "no field"
        raise ConfigError(f"{where}: found an object with {keys}, wanted {WANTED}")
    return ReportSource(
        _parsed(VerifyResult, verify, where),
        _parsed(MeasureResult, measure, where),
        _run_facts(document, where),
        about_processes="processes" in document,
    )


def _run_facts(document: Mapping[str, Any], where: str) -> RunFacts | None:
    """Return what the document of a run has besides the results of verify and measure."""
    if not all(field.name in document for field in fields(RunResult) if field.name in {"verify", "measure", "guests"}):
        return None
    run = _parsed(RunResult, document, where)
    return None if run is None else RunFacts(run.guests, run.publish_seconds, run.ready_seconds, run.warnings)


def _parsed(kind: "type[_Result]", document: object, where: str) -> "_Result | None":
    parse: Callable[..., _Result] = from_document
    try:
        return None if document is None else parse(kind, document)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}: it is not what dcss prints") from error


def _read(name: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read()
    with open(open_regular(Path(name)), "rb") as file:
        return file.read()
