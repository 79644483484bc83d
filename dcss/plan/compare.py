"""compare: run one workload by every way to file bytes, in turn, and say what each costs."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from dcss.abi.page import PAGE_SIZE
from dcss.account.cpu import cpu_seconds
from dcss.config.document import Document
from dcss.config.plan import SystemPlan
from dcss.errors import ConfigError
from dcss.host import ksm
from dcss.host.provenance import provenance
from dcss.plan.ways import WAYS, Way, plan_for
from dcss.progress import Progress
from dcss.results import ComparisonResult, RunResult, Verdict, WayGuest, WayResult, sum_of
from dcss.system.run import run_system

_MERGING_SECONDS = 60.0  # after so long, what KSM has merged is what there is
_LOOK_SECONDS = 0.1
_SCANS = 3  # ksmd merges a page that two scans found unchanged


@dataclass(slots=True)
class _Round:
    """One run by one way: its result, and what was read when all guests were ready."""

    result: RunResult
    guest_cpu_seconds: dict[str, float]
    daemon_cpu_seconds: float = 0.0
    merged_bytes: dict[str, int] = field(default_factory=dict)
    frames_bytes: int | None = None


def compare(
    document: Document, path: Path, *, rounds: int, use_ksm: bool, progress: Progress
) -> tuple[ComparisonResult, list[str]]:
    """Run a configuration by every way, and return what each costs, and the guests that failed.

    Raises ConfigError where no way can be run, and what run_system raises.
    """
    plans, reasons = _plans(document, path, use_ksm=use_ksm)
    found: dict[Way, list[_Round]] = {way: [] for way in plans}
    failed: list[str] = []
    for _ in range(rounds):
        for way, plan in plans.items():
            if way in reasons:
                continue
            done = _run(way, plan, progress)
            failures = [guest for guest in done.result.guests if guest.exit_status]
            if failures:
                said = f"guest {failures[0].name}: exit status {failures[0].exit_status}"
                reasons[way] = f"{len(failures)} of {len(done.result.guests)} guests failed; {said}"
                last = failures[0].log.strip().splitlines()[-1:]
                failed.append(": ".join([way, said, *last]))
            found[way].append(done)
    ways = tuple(_not_run(way, reasons[way]) if way in reasons else _way(way, found[way]) for way in WAYS)
    first = next((found[way][0].result for way in WAYS if found.get(way) and way not in reasons), None)
    name = plans[WAYS[0]].name.removesuffix(f"-{WAYS[0]}")
    limits = () if first is None else first.measure.limits
    return ComparisonResult(name, rounds, ways, limits, provenance()), failed


def _plans(document: Document, path: Path, *, use_ksm: bool) -> tuple[dict[Way, SystemPlan], dict[Way, str]]:
    """Return the plans of the ways that can be run, and why the others cannot."""
    plans: dict[Way, SystemPlan] = {}
    reasons: dict[Way, str] = {}
    for way in WAYS:
        try:
            plans[way] = plan_for(way, document, path)
        except ConfigError as error:
            if way == WAYS[0]:  # the configuration itself is wrong
                raise
            reasons[way] = error.findings[0]
    closed = ksm.unusable_because() if use_ksm else "KSM changes settings of the machine: --ksm has it run meanwhile"
    if closed is not None:
        reasons["ksm"] = closed
    return plans, reasons


def _run(way: Way, plan: SystemPlan, progress: Progress) -> _Round:
    if way != "ksm":
        return _observed(plan, progress, lambda _: None)
    before_bytes = ksm.counter("pages_shared") * PAGE_SIZE
    merged: dict[str, int] = {}
    frames: list[int] = []
    with ExitStack() as stack:
        stack.enter_context(ksm.merging(ksm.FAST))
        stack.enter_context(ksm.processes_merged())
        daemon = ksm.daemon_pids()
        began = sum(map(cpu_seconds, daemon))

        def on_ready(pids: Mapping[str, Sequence[int]]) -> None:
            _wait_for_scans()
            merged.update((name, ksm.merged_pages(each) * PAGE_SIZE) for name, each in pids.items())
            frames.append(max(0, ksm.counter("pages_shared") * PAGE_SIZE - before_bytes))

        done = _observed(plan, progress, on_ready)
        done.daemon_cpu_seconds = sum(map(cpu_seconds, daemon)) - began
    done.merged_bytes, done.frames_bytes = merged, frames[0] if frames else None
    return done


def _observed(plan: SystemPlan, progress: Progress, on_ready: Callable[[Mapping[str, Sequence[int]]], None]) -> _Round:
    cpu: dict[str, float] = {}

    def read(pids: Mapping[str, Sequence[int]]) -> None:
        for name, each in pids.items():
            with suppress(OSError):  # it has ended, or the kernel does not show it
                cpu[name] = sum(map(cpu_seconds, each))
        on_ready(pids)

    return _Round(run_system(plan, progress=progress, on_ready=read), cpu)


def _wait_for_scans() -> None:
    """Wait until ksmd has seen all memory often enough to merge what stays as it is."""
    wanted, ends = ksm.counter("full_scans") + _SCANS, time.monotonic() + _MERGING_SECONDS
    while ksm.counter("full_scans") < wanted and time.monotonic() < ends:
        time.sleep(_LOOK_SECONDS)


def _not_run(way: Way, reason: str) -> WayResult:
    return WayResult(way, None, reason, None, None, None, None, None, None, ())


def _way(way: Way, rounds: Sequence[_Round]) -> WayResult:
    """Return the medians over the rounds."""
    guests = tuple(_guest(account.name, rounds) for account in rounds[0].result.measure.guests)
    segment_bytes = _median([sum(each.resident_bytes for each in done.result.measure.segments) for done in rounds])
    private_bytes = sum_of([guest.private_bytes for guest in guests])
    merged_bytes = _median([done.frames_bytes for done in rounds])
    parts = [private_bytes, segment_bytes, merged_bytes if way == "ksm" else 0]
    cpu = [sum(done.guest_cpu_seconds.values()) + done.daemon_cpu_seconds for done in rounds if done.guest_cpu_seconds]
    return WayResult(
        way,
        _verdict([done.result.verify.verdict for done in rounds]),
        None,
        median(done.result.ready_seconds for done in rounds),
        median(cpu) if cpu else None,
        private_bytes,
        segment_bytes,
        merged_bytes,
        sum_of(parts),
        guests,
    )


def _guest(name: str, rounds: Sequence[_Round]) -> WayGuest:
    accounts = [account for done in rounds for account in done.result.measure.guests if account.name == name]
    seconds = [outcome.seconds for done in rounds for outcome in done.result.guests if outcome.name == name]
    cpu = [done.guest_cpu_seconds[name] for done in rounds if name in done.guest_cpu_seconds]
    merged = [done.merged_bytes.get(name, 0) for done in rounds]
    shared = [
        None if account.mapped_segment_bytes is None else account.mapped_segment_bytes + more
        for account, more in zip(accounts, merged, strict=True)
    ]
    return WayGuest(
        name,
        median(seconds),
        median(cpu) if cpu else None,
        _median([account.host.uss_bytes for account in accounts]),
        _median([account.copies_bytes for account in accounts]),
        _median(shared),
    )


def _verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of the rounds."""
    return next((each for each in ("refuted", "unproved") if each in verdicts), "verified")


def _median(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return round(median(known)) if known and len(known) == len(sizes) else None
