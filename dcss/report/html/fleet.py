"""The report of a fleet: what its hosts found, as one result whose segments and claims say on which host they are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from dcss.documents import from_document
from dcss.fleet.results import FleetResult
from dcss.report.html.source import ReportHost, ReportSource
from dcss.results import Claim, MeasureResult, Totals, Verdict, VerifyResult, sum_of

_NAMED_HOSTS = 8  # in the detail of a claim


def fleet_source(verify: FleetResult, measure: FleetResult) -> ReportSource:
    """Return what a report shows of a fleet, of which each host was asked for its verdict and its memory."""
    hosts = tuple(_hosts(verify, measure))
    return ReportSource(
        _verify(verify.system, verify.verdict or "unproved", hosts), _measure(measure.system, hosts), hosts=hosts
    )


def _hosts(verify: FleetResult, measure: FleetResult) -> Iterator[ReportHost]:
    measured = {host.host: host for host in measure.hosts}
    for proved in verify.hosts:
        other = measured[proved.host]
        reason = proved.reason or other.reason
        yield ReportHost(
            proved.host,
            proved.system,
            reason,
            None if proved.document is None else from_document(VerifyResult, proved.document),
            None if other.document is None else from_document(MeasureResult, other.document),
        )


def _verify(system: str, verdict: Verdict, hosts: Sequence[ReportHost]) -> VerifyResult:
    found = [(host.name, host.verify) for host in hosts if host.verify is not None]
    return VerifyResult(
        system,
        verdict,
        "frames" if all(result.evidence == "frames" for _, result in found) else "mappings",
        tuple(_claims((name, claim) for name, result in found for claim in result.claims)),
        tuple(replace(file, segment=_on(file.segment, name)) for name, result in found for file in result.files),
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
        tuple(replace(each, name=_on(each.name, name)) for name, result in found for each in result.segments),
        Totals(
            sum_of([None if each is None else each.with_sharing_bytes for each in totals]),
            sum_of([None if each is None else each.without_sharing_bytes for each in totals]),
            sum_of([None if each is None else each.saved_bytes for each in totals]),
        ),
        limits=tuple(f"host {name}: {limit}" for name, result in found for limit in result.limits),
        others=tuple(replace(each, name=_on(each.name, name)) for name, result in found for each in result.others),
    )


def _on(name: str, host: str) -> str:
    return f"{name} on {host}"


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
