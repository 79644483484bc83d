"""`dcss run`: publish, launch, wait, verify, measure, take down."""

from pathlib import Path
from time import monotonic

from dcss.config.plan import SystemPlan
from dcss.host.signals import run_interruptible
from dcss.progress import Progress
from dcss.results import RunResult
from dcss.system.hints import fallbacks
from dcss.system.system import System


def run_system(plan: SystemPlan, *, progress: Progress, evidence_path: Path | None = None) -> RunResult:
    """Run a whole system once and return what was found; whatever happens, nothing of it is left behind.

    Raises ConfigError, ImageError, PublishError, SystemBusyError, LaunchError; an interrupt passes through.
    """
    return run_interruptible(_run(plan, progress, evidence_path))


async def _run(plan: SystemPlan, progress: Progress, evidence_path: Path | None) -> RunResult:
    async with System(plan, progress) as system:
        started = monotonic()
        await system.publish()
        published = monotonic()
        system.launch()
        system.prover.prepare()
        await system.wait()
        ready = monotonic()
        verdict, account = await system.prover.examine(evidence_path, progress)
        outcomes = system.outcomes()
    warnings = (*plan.warnings, *fallbacks(account.guests))
    return RunResult(verdict, account, outcomes, published - started, ready - published, warnings)
