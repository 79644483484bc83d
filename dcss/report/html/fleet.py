"""The report of a fleet: what its hosts found, as one result whose segments and claims say on which host they are."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dcss.documents import from_document
from dcss.errors import ConfigError
from dcss.fleet.evidence import evidence_path
from dcss.fleet.results import FleetHost, FleetResult
from dcss.report.html.pages import EvidencePages, name_on, read_evidence
from dcss.report.html.source import ReportHost, ReportSource, read_document
from dcss.results import Claim, MeasureResult, Totals, Verdict, VerifyResult, sum_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Result = TypeVar("_Result", bound=DataclassInstance)

_WANTED = "what dcss fleet run, verify or measure print with --json"
_NAMED_HOSTS = 8  # in the detail of a claim


def fleet_source(verify: FleetResult | None, measure: FleetResult | None) -> ReportSource:
    """Return what a report shows of a fleet, of which each host was asked for its verdict, its memory, or both."""
    hosts = tuple(_hosts(verify, measure))
    return ReportSource(
        None if verify is None else _verify(verify.system, verify.verdict or "unproved", hosts),
        None if measure is None else _measure(measure.system, hosts),
        hosts=hosts,
    )


def read_fleet_source(names: Sequence[str]) -> ReportSource:
    """Return the source in what `dcss fleet run`, or verify and measure, printed with --json. Raises ConfigError."""
    verify: FleetResult | None = None
    measure: FleetResult | None = None
    for name in names:
        document = read_document(name, _WANTED)
        found = document if {"verify", "measure"} <= set(document) else {_kind(document, name): document}
        if "verify" in found:
            verify = _once(verify, _parsed(found["verify"], name), name, "verify")
        if "measure" in found:
            measure = _once(measure, _parsed(found["measure"], name), name, "measure")
    if verify is not None and measure is not None and verify.system != measure.system:
        systems = f"fleet {verify.system} and of fleet {measure.system}"
        raise ConfigError(f"{', '.join(names)}: found results of {systems}, wanted those of one")
    return fleet_source(verify, measure)


def fleet_evidence(source: ReportSource, directory: Path, found: str | None = None) -> EvidencePages | None:
    """Return the pages of each host that answered, None if none did: `directory` has a file for each host's system.

    With `found`, that stands in the report for the files' names. Raises ConfigError, OSError.
    """
    pages = [(host, _host_evidence(host, directory, found)) for host in source.hosts if host.verify or host.measure]
    if not pages:
        return None
    levels = {each.level for _, each in pages}
    return EvidencePages(
        tuple(replace(file, host=host.name) for host, each in pages for file in each.files),
        source.system,
        "frames" if levels == {"frames"} else "mappings",
        tuple(guest for _, each in pages for guest in each.guests),
        tuple(replace(segment, host=host.name) for host, each in pages for segment in each.segments),
    )


def _host_evidence(host: ReportHost, directory: Path, found: str | None) -> EvidencePages:
    path = evidence_path(directory, host.system)
    try:
        pages = read_evidence(path, None if found is None else f"{found} {host.name}")
    except FileNotFoundError as error:
        raise ConfigError(
            f"--evidence: found no {path.name} in {directory}, wanted that of host {host.name}"
        ) from error
    if pages.system != host.system:
        raise ConfigError(f"--evidence: found evidence of system {pages.system} in {path}, wanted {host.system}'s")
    return pages


def _kind(document: Mapping[str, Any], name: str) -> str:
    """Return of which command a document is, by what it alone has."""
    for field, command in (("verdict", "verify"), ("totals", "measure")):
        if document.get(field) is not None and "hosts" in document:
            return command
    keys = ", ".join(sorted(map(str, document))[:8]) or "no field"
    raise ConfigError(f"{name}: found an object with {keys}, wanted {_WANTED}")


def _parsed(document: object, name: str) -> FleetResult:
    try:
        return from_document(FleetResult, document)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}: it is not {_WANTED}") from error


def _once(earlier: FleetResult | None, found: FleetResult, name: str, command: str) -> FleetResult:
    if earlier is not None:
        raise ConfigError(f"{name}: found another result of dcss fleet {command}, wanted one of each at most")
    return found


def _hosts(verify: FleetResult | None, measure: FleetResult | None) -> Iterator[ReportHost]:
    proved = {} if verify is None else {host.host: host for host in verify.hosts}
    measured = {} if measure is None else {host.host: host for host in measure.hosts}
    for name in dict.fromkeys((*proved, *measured)):
        found = [each for each in (proved.get(name), measured.get(name)) if each is not None]
        yield ReportHost(
            name,
            found[0].system,
            next((each.reason for each in found if each.reason is not None), None),
            _result(VerifyResult, proved.get(name)),
            _result(MeasureResult, measured.get(name)),
        )


def _result(kind: "type[_Result]", host: FleetHost | None) -> "_Result | None":
    parse: Callable[..., _Result] = from_document
    return None if host is None or host.document is None else parse(kind, host.document)


def _verify(system: str, verdict: Verdict, hosts: Sequence[ReportHost]) -> VerifyResult:
    found = [(host.name, host.verify) for host in hosts if host.verify is not None]
    return VerifyResult(
        system,
        verdict,
        "frames" if all(result.evidence == "frames" for _, result in found) else "mappings",
        tuple(_claims((name, claim) for name, result in found for claim in result.claims)),
        tuple(replace(file, segment=name_on(file.segment, name)) for name, result in found for file in result.files),
        tuple(f"host {name}: {limit}" for name, result in found for limit in result.limits),
        sum(result.cpu_seconds for _, result in found),
        tuple(f"host {name}: {hint}" for name, result in found for hint in result.hints),
    )


def _measure(system: str, hosts: Sequence[ReportHost]) -> MeasureResult:
    """Return the sum of what hosts measured: they share no memory, so that each segment counts once on each host."""
    found = [(host.name, host.measure) for host in hosts if host.measure is not None]
    totals = [None if host.measure is None else host.measure.totals for host in hosts]
    return MeasureResult(
        system,
        tuple(guest for _, result in found for guest in result.guests),
        tuple(replace(each, name=name_on(each.name, name)) for name, result in found for each in result.segments),
        Totals(
            sum_of([None if each is None else each.with_sharing_bytes for each in totals]),
            sum_of([None if each is None else each.without_sharing_bytes for each in totals]),
            sum_of([None if each is None else each.saved_bytes for each in totals]),
        ),
        limits=tuple(f"host {name}: {limit}" for name, result in found for limit in result.limits),
        others=tuple(replace(each, name=name_on(each.name, name)) for name, result in found for each in result.others),
    )


def _claims(found: Iterable[tuple[str, Claim]]) -> Iterator[Claim]:
    """Yield each claim once: it holds where it does on each host that it applies to."""
    by_name: dict[str, list[tuple[str, Claim]]] = {}
    for host, claim in found:
        by_name.setdefault(claim.claim, []).append((host, claim))
    for name, claims in by_name.items():
        judged = [claim.holds for _, claim in claims if claim.applies]
        holds = False if False in judged else None if None in judged or not judged else True
        yield Claim(name, holds, _detail(claims), applies=bool(judged))


def _detail(claims: Sequence[tuple[str, Claim]]) -> str:
    """Return what hosts say of a claim, those first on which it does not hold; of many the first ones."""
    order = {False: 0, None: 1, True: 2}
    ordered = sorted(claims, key=lambda each: (order[each[1].holds] if each[1].applies else len(order), each[0]))
    texts = [f"{host}: {claim.detail}" for host, claim in ordered[:_NAMED_HOSTS]]
    more = len(ordered) - len(texts)
    return "; ".join(texts) + (f"; and {more:,} more hosts" if more else "")
