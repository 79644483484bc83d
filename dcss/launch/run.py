"""`dcss run`: publish, launch, wait, verify, measure, take down."""

from pathlib import Path
from time import monotonic

from dcss.config.plan import SystemPlan
from dcss.launch.subjects import guest_books, subject_of
from dcss.launch.system import System
from dcss.report.progress import Progress
from dcss.report.results import RunResult


def run_system(plan: SystemPlan, *, progress: Progress, evidence_path: Path | None = None) -> RunResult:
    """Run a whole system once and return what was found; whatever happens, nothing of it is left behind.

    Raises ConfigError, ImageError, PublishError, SystemBusyError, LaunchError; an interrupt passes through.
    """
    from dcss.account.guests import measure
    from dcss.account.machine import free_memory_bytes
    from dcss.verify.verdict import verify

    with System(plan, progress) as system:
        started = monotonic()
        system.publish()
        published = monotonic()
        free_before_bytes = free_memory_bytes()
        system.launch()
        system.wait()
        ready = monotonic()
        subject = subject_of(system)
        progress.phase("verify")
        verdict = verify(subject, evidence_path=evidence_path)
        progress.phase("measure")
        account = measure(
            subject,
            guest_books(system),
            {name: system.cp.users(name) for name in system.cp.segments},
            free_before_bytes=free_before_bytes,
        )
        outcomes = tuple(guest.outcome() for guest in system.guests.values())
    return RunResult(verdict, account, outcomes, published - started, ready - published, plan.warnings)
