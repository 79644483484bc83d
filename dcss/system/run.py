"""`dcss run`: publish, launch, wait, verify, measure, take down."""

from pathlib import Path
from time import monotonic

from dcss.config.plan import SystemPlan
from dcss.progress import Progress
from dcss.results import RunResult
from dcss.system.proof import examine_system
from dcss.system.system import System


def run_system(plan: SystemPlan, *, progress: Progress, evidence_path: Path | None = None) -> RunResult:
    """Run a whole system once and return what was found; whatever happens, nothing of it is left behind.

    Raises ConfigError, ImageError, PublishError, SystemBusyError, LaunchError; an interrupt passes through.
    """
    with System(plan, progress) as system:
        started = monotonic()
        system.publish()
        published = monotonic()
        system.launch()
        system.wait()
        ready = monotonic()
        progress.phase("verify")
        verdict, account = examine_system(system, evidence_path)
        outcomes = system.outcomes()
    return RunResult(verdict, account, outcomes, published - started, ready - published, plan.warnings)
