"""`dcss run`: publish, launch, wait, verify, measure, take down."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

from dcss.config.plan import SystemPlan
from dcss.host.aio import in_thread
from dcss.host.signals import run_interruptible
from dcss.progress import Progress
from dcss.results import RunResult
from dcss.system.hints import downgrades, fallbacks
from dcss.system.system import System

OnReady = Callable[[Mapping[str, Sequence[int]]], None]  # gets the processes of each guest


def run_system(
    plan: SystemPlan,
    *,
    progress: Progress,
    evidence_path: Path | None = None,
    timings: bool = False,
    trace_path: Path | None = None,
    on_ready: OnReady | None = None,
) -> RunResult:
    """Run a whole system once and return what was found; whatever happens, nothing of it is left behind.

    With `timings`, guests say where their starts go, and `trace_path` takes events of that. `on_ready` is called in a
    thread when all guests' lists have ended, before they are looked at. Raises ConfigError,
    ImageError, PublishError, SystemBusyError, LaunchError; an interrupt passes through.
    """
    if timings:
        plan = replace(plan, guests=tuple(replace(guest, timings=True) for guest in plan.guests))
    return run_interruptible(_run(plan, progress, evidence_path, trace_path, on_ready, timings=timings))


async def _run(
    plan: SystemPlan,
    progress: Progress,
    evidence_path: Path | None,
    trace_path: Path | None,
    on_ready: OnReady | None,
    *,
    timings: bool,
) -> RunResult:
    async with System(plan, progress) as system:
        started = monotonic()
        system.prover.prepare()  # what proofs import takes longer than to publish a small segment and start its guests
        await system.publish()
        published = monotonic()
        system.launch()
        await system.wait()
        ready = monotonic()
        if on_ready is not None:
            await in_thread(partial(on_ready, {guest.name: guest.pids for guest in system.guests.values()}))
        verdict, account = await system.prover.examine(evidence_path, progress)
        outcomes = system.outcomes()
        warnings = (*plan.warnings, *fallbacks(account.guests), *downgrades(account.guests))
        result = RunResult(verdict, account, outcomes, published - started, ready - published, warnings)
        if timings:
            from dcss.system.timings import Interval, Timeline

            steps = ("publish", started, published), ("start guests", published, ready), ("verify", ready, monotonic())
            timeline = Timeline(system, [Interval(*step) for step in steps])
            result = replace(result, timings=timeline.summary())
            if trace_path is not None:
                await in_thread(timeline.write_trace, trace_path)
    return result
