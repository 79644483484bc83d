"""Several kernels, or parts of the checks, at once: each in a process of its own, so that an interrupt ends all."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from dcss.documents import from_document
from dcss.errors import LaunchError
from dcss.kernel_test.checks import Check
from dcss.kernel_test.results import CheckResult, KernelResult, KernelTestResult

_LOOK_SECONDS: Final = 0.1
_END_SECONDS: Final = 60.0
_TOLD: Final = frozenset({0, 1, 3})  # the exit statuses with which kernel-test has printed a result


class Part(NamedTuple):
    """Checks that one machine runs in a kernel."""

    kernel: str
    checks: tuple[Check, ...]

    def command(self) -> list[str]:
        """Return the words that run it."""
        names = [word for check in self.checks for word in ("--check", check.name)]
        return [sys.executable, "-m", "dcss", "kernel-test", self.kernel, *names, "--json"]


def parts_of(kernels: Sequence[str], checks: Sequence[Check], jobs: int) -> list[Part]:
    """Divide the work: a machine for each kernel, and more of them where there are more jobs than kernels."""
    machines = max(1, min(jobs // len(kernels), len(checks)))
    return [Part(kernel, tuple(checks[first::machines])) for kernel in kernels for first in range(machines)]


def run_parts(parts: Sequence[Part], jobs: int, on_check: Callable[[str, CheckResult], None]) -> list[KernelResult]:
    """Run parts, at most `jobs` at once, and return what each found. Raises LaunchError where one tells nothing."""
    waiting, running = list(enumerate(parts)), dict[int, subprocess.Popen[bytes]]()
    found: dict[int, KernelResult] = {}
    with tempfile.TemporaryDirectory(prefix="dcss-kernels-") as directory:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    number, part = waiting.pop(0)
                    with Path(directory, str(number)).open("wb") as output:
                        running[number] = subprocess.Popen(part.command(), stdin=subprocess.DEVNULL, stdout=output)
                time.sleep(_LOOK_SECONDS)
                for number in [each for each, process in running.items() if process.poll() is not None]:
                    status = running.pop(number).returncode
                    found[number] = _result(parts[number], status, Path(directory, str(number)))
                    for check in found[number].checks:
                        on_check(parts[number].kernel, check)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait(_END_SECONDS)
    return [found[number] for number in range(len(parts))]


def joined(results: Sequence[KernelResult], kernels: Sequence[str], checks: Sequence[Check]) -> KernelTestResult:
    """Join what the parts of each kernel found, with the checks in their order."""
    places = {check.name: place for place, check in enumerate(checks)}

    def of(kernel: str) -> KernelResult:
        parts = [result for result in results if result.kernel == kernel]
        done = sorted((check for part in parts for check in part.checks), key=lambda check: places[check.check])
        release = next(filter(None, (part.release for part in parts)), "")
        untested = next(filter(None, (part.untested for part in parts)), "")
        return KernelResult(kernel, release, tuple(done), untested)

    return KernelTestResult(tuple(of(kernel) for kernel in kernels))


def _result(part: Part, status: int, output: Path) -> KernelResult:
    if status not in _TOLD:
        names = ", ".join(check.name for check in part.checks)
        raise LaunchError(f"kernel-test {part.kernel}, checks {names}: ended with status {status}, wanted a result")
    (result,) = from_document(KernelTestResult, json.loads(output.read_bytes())).kernels
    return result
