"""Bring a fleet up, ask it, and take it down. Each can be done again, and then does what is left to do."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from dcss.config.fleet_plan import FleetPlan, HostPlan
from dcss.errors import ConfigError, LaunchError
from dcss.fleet import tasks
from dcss.fleet.costs import costs_of
from dcss.fleet.evidence import verify_with_evidence
from dcss.fleet.facts import ask_facts
from dcss.fleet.host_yaml import check_portable, host_yaml, system_on
from dcss.fleet.hosts import HostAnswer, Hosts, local_root
from dcss.fleet.planning import Assignment, HostGuests, assignments, place_fleet
from dcss.fleet.results import FleetHost, FleetResult, FleetRunResult, FleetTotals
from dcss.fleet.scratch import scratch_directory
from dcss.fleet.transfer import build_images, send_images
from dcss.host.files import write_all, write_durably
from dcss.progress import Progress
from dcss.results import Verdict, sum_of

Question = Literal["ps", "verify", "measure", "metrics"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet and the hosts that can be asked."""

    plan: FleetPlan
    hosts: Hosts

    @property
    def host_names(self) -> list[str]:
        """The hosts that may get guests: those of the YAML, or all that can be asked."""
        named = self.plan.hosts
        return list(self.hosts.names) if named is None else [host.name for host in named]


def recorded_hosts(plan: FleetPlan) -> list[str]:
    """Return the hosts that `up` gave guests to, and that were not taken down; none where it did not run."""
    return [str(each["host"]) for each in _read_record(plan).get("assignments", [])]


def bring_up(fleet: Fleet, measured: Path | None, progress: Progress) -> FleetResult:
    """Have each host run its part. Raises ConfigError, LaunchError; a host that fails is named in the result."""
    check_portable(fleet.plan)
    facts = ask_facts(fleet.hosts, fleet.host_names)
    assigned = _assigned(fleet, facts, measured)
    stale = set(recorded_hosts(fleet.plan)) - {each.host for each in assigned}
    _write_record(fleet, [*assigned, *(Assignment(host, (), ()) for host in sorted(stale))])
    with scratch_directory() as scratch:
        images, paths = build_images(fleet.plan.segments, scratch, progress)
        wanted = {each.host: each.segments for each in assigned}
        sent_bytes, unsent = send_images(fleet.hosts, wanted, images, paths, progress)
    progress.phase("start systems")
    ready = [each for each in assigned if each.host not in unsent]
    digests = {name: content.digest for name, content in images.items()}
    answers = fleet.hosts.call(
        tasks.ensure_up,
        {
            each.host: (
                system_on(fleet.plan.name, each.host),
                host_yaml(fleet.plan, each, digests),
                sorted({digests[name] for name in each.segments if name in digests}),
            )
            for each in ready
        },
    )
    if stale:
        fleet.hosts.call(tasks.take_down, {host: (system_on(fleet.plan.name, host),) for host in stale})
        _write_record(fleet, assigned)
    answers |= {host: HostAnswer(None, reason) for host, reason in unsent.items()}
    return _result(fleet.plan, answers, sent_bytes=sent_bytes)


def ask_all(fleet: Fleet, question: Question) -> FleetResult:
    """Ask each host of the fleet; one that cannot be asked, or runs nothing, is named with the reason."""
    given = {host: (system_on(fleet.plan.name, host), question) for host in _hosts_that_run(fleet)}
    result = _result(fleet.plan, fleet.hosts.call(tasks.ask, given))
    match question:
        case "verify":
            return replace(result, verdict=verdict_of(result))
        case "measure":
            return replace(result, totals=totals_of(result))
        case "ps" | "metrics":
            return result


def verify_all(fleet: Fleet, evidence: Path | None = None) -> FleetResult:
    """Ask each host for its verdict; with `evidence`, have what each was computed from in that directory, too."""
    if evidence is None:
        return ask_all(fleet, "verify")
    answers = verify_with_evidence(fleet.hosts, fleet.plan.name, _hosts_that_run(fleet), evidence)
    result = _result(fleet.plan, answers)
    return replace(result, verdict=verdict_of(result))


def _hosts_that_run(fleet: Fleet) -> list[str]:
    """Return the hosts that are to run a part. Raises ConfigError where none is."""
    hosts = recorded_hosts(fleet.plan)
    if not hosts:
        name, path = fleet.plan.name, fleet.plan.path
        raise ConfigError(f"fleet {name}: found none that is up, wanted one: dcss fleet up {path}")
    return hosts


def run_fleet(fleet: Fleet, measured: Path | None, progress: Progress, evidence: Path | None = None) -> FleetRunResult:
    """Bring the fleet up, prove and measure what it shares, and take it down, whatever failed.

    With `evidence`, what the verdicts were computed from is in that directory.
    """
    check_portable(fleet.plan)
    try:
        up = bring_up(fleet, measured, progress)
        progress.phase("verify")
        verify = verify_all(fleet, evidence)
        progress.phase("measure")
        measure = ask_all(fleet, "measure")
    finally:
        progress.phase("take systems down")
        down = take_down(fleet)
    return FleetRunResult(fleet.plan.name, verdict_of(verify), up, verify, measure, down)


def take_down(fleet: Fleet) -> FleetResult:
    """Take down what runs on any host; that nothing does is no error. Hosts that cannot be asked stay recorded."""
    hosts = sorted({*recorded_hosts(fleet.plan), *fleet.hosts.names})
    answers = fleet.hosts.call(tasks.take_down, {host: (system_on(fleet.plan.name, host),) for host in hosts})
    result = _result(fleet.plan, answers)
    left = {host.host for host in result.hosts if host.reason is not None}
    record = _read_record(fleet.plan)
    kept = [each for each in record.get("assignments", []) if each["host"] in left]
    if kept:
        # Without the digest: the next `up` places all guests, and not those of these hosts alone.
        _write(fleet.plan, {"assignments": kept})
    else:
        _record_path(fleet.plan).unlink(missing_ok=True)
    return result


def verdict_of(result: FleetResult) -> Verdict:
    """Return the fleet's verdict: verified only if each host is; a host that was not asked leaves it unproved."""
    verdicts = [None if host.document is None else host.document.get("verdict") for host in result.hosts]
    if "refuted" in verdicts:
        return "refuted"
    return "verified" if verdicts and set(verdicts) == {"verified"} else "unproved"


def totals_of(result: FleetResult) -> FleetTotals:
    """Return the sums of what hosts measured. Hosts share no memory: what one has counts there, and once."""
    documents = [host.document for host in result.hosts]
    guests = [guest for document in documents if document is not None for guest in document["guests"]]
    segments = [segment for document in documents if document is not None for segment in document["segments"]]
    unseen = [None] * documents.count(None)
    return FleetTotals(
        guests=len(guests),
        private_bytes=sum_of([*(guest["host"]["uss_bytes"] for guest in guests), *unseen]),
        segment_bytes=sum_of([*(segment["resident_bytes"] for segment in segments), *unseen]),
        saved_bytes=sum_of([None if each is None else each["totals"]["saved_bytes"] for each in documents]),
    )


def _assigned(fleet: Fleet, facts: Mapping[str, Any], measured: Path | None) -> list[Assignment]:
    """Return what each host runs: as before, where neither the fleet nor its hosts have changed."""
    record = _read_record(fleet.plan)
    if record.get("digest") == _digest(fleet.plan, facts):
        return [_from_record(fleet.plan, each) for each in record["assignments"] if each["guests"]]
    nodes = [each["node"] for each in facts.values()]
    limits = {host.name: host for host in fleet.plan.hosts or ()}
    hosts = []
    for name, each in facts.items():
        free_bytes = each["free_bytes"] // nodes.count(each["node"])  # workers of one machine have its memory together
        limit = limits.get(name, HostPlan(name, None, None))
        memory_bytes = free_bytes if limit.memory_bytes is None else min(free_bytes, limit.memory_bytes)
        hosts.append(HostPlan(name, memory_bytes, limit.max_guests))
    placer = place_fleet(fleet.plan, hosts, costs_of(fleet.plan, measured))
    if placer.unplaced:
        left = sum(placer.unplaced.values())
        raise LaunchError(f"fleet {fleet.plan.name}: {left} guests have no room; dcss fleet plan says what is lacking")
    return list(assignments(fleet.plan, placer))


def _result(plan: FleetPlan, answers: Mapping[str, HostAnswer], *, sent_bytes: int = 0) -> FleetResult:
    return FleetResult(plan.name, tuple(_hosts(plan, answers)), sent_bytes)


def _hosts(plan: FleetPlan, answers: Mapping[str, HostAnswer]) -> Iterator[FleetHost]:
    for host, answer in sorted(answers.items()):
        value = answer.value or {}
        reason = answer.error or value.get("error")
        adopted = value.get("adopted", False)
        yield FleetHost(host, system_on(plan.name, host), adopted, reason, value.get("document"))


def _digest(plan: FleetPlan, hosts: Iterable[str]) -> str:
    return sha256(json.dumps([plan.document.data, sorted(hosts)], sort_keys=True).encode()).hexdigest()


def _record_path(plan: FleetPlan) -> Path:
    return local_root() / f"{plan.name}.json"


def _read_record(plan: FleetPlan) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(_record_path(plan).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return record


def _write_record(fleet: Fleet, assigned: Sequence[Assignment]) -> None:
    entries = [
        {
            "host": each.host,
            "guests": [[part.entry.number, part.first, part.last] for part in each.guests],
            "segments": list(each.segments),
        }
        for each in assigned
    ]
    _write(fleet.plan, {"digest": _digest(fleet.plan, fleet.host_names), "assignments": entries})


def _write(plan: FleetPlan, record: Mapping[str, Any]) -> None:
    text = json.dumps(record).encode()
    write_durably(_record_path(plan), lambda descriptor: write_all(descriptor, text), mode=0o600)


def _from_record(plan: FleetPlan, entry: Mapping[str, Any]) -> Assignment:
    parts = tuple(HostGuests(plan.entries[number], first, last) for number, first, last in entry["guests"])
    return Assignment(entry["host"], parts, tuple(entry["segments"]))
