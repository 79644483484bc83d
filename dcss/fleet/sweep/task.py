"""Run one configuration on a worker: by the `dcss` command in a process of its own, within a time limit.

Called by name with plain data, and answers with plain data.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

from dcss.documents import from_document, to_document
from dcss.fleet.host_yaml import with_images
from dcss.fleet.sweep.children import start_child, stop_children, wait_for_child
from dcss.fleet.sweep.results import KernelFigures, RunFigures
from dcss.fleet.tasks import Answer, environment_of, find_images
from dcss.host.paths import cache_directory, private_directory
from dcss.host.text import utc_now
from dcss.results import RunResult, sum_of
from dcss.version import VERSION

_LOOK_SECONDS: Final = 0.05
_ERROR_CHARACTERS: Final = 500


def run_configuration(base: str | None, run: str, order: Mapping[str, Any]) -> Answer:
    """Run a `dcss` command with --json and return how it ended and what it found.

    `run` is by what `stop_configurations` finds it. `order` has the command's `words`, the `yaml` that they are about
    or None, the digests of its `images`, which the host was sent, its `time_limit_seconds` or None, the `worker`, and
    `slots`: how many configurations the worker may run at
    once; this one waits until there are fewer, whoever's they are.
    """
    words, limit_seconds = list(order["words"]), order["time_limit_seconds"]
    began = time.monotonic()
    with _slot(base, order["worker"], order["slots"]) as (lock, directory):
        waited_seconds = time.monotonic() - began
        if order["yaml"] is not None:
            yaml = with_images(order["yaml"], find_images(base, order["images"]))
            (directory / "system.yaml").write_bytes(yaml)
            words.append(str(directory / "system.yaml"))
        # Nothing of a configuration is kept: neither logs nor saved segments.
        environment = {**environment_of(base), "XDG_STATE_HOME": str(directory / "state")}
        began_at = utc_now()
        began = time.monotonic()
        # The lock stays taken until the command has ended, also where this process is killed.
        process = start_child(run, [*words, "--json"], environment, directory, pass_fds=(lock,))
        timed_out = wait_for_child(process, limit_seconds)
        seconds = time.monotonic() - began
        figures, error = _figures(words[0], (directory / "stdout").read_bytes())
        lines = (directory / "stderr").read_text(errors="replace").strip().splitlines()
    outcome = "done" if process.returncode in {0, 1} else "failed"
    if timed_out:
        outcome, error = "timed-out", f"ended after its time limit of {limit_seconds:g} s"
    elif outcome == "failed" and error is None:
        error = lines[-1] if lines else f"ended with {process.returncode}"
    return {
        "outcome": outcome,
        "exit_status": process.returncode,
        "error": error and error[:_ERROR_CHARACTERS],
        "time": began_at,
        "seconds": seconds,
        "waited_seconds": waited_seconds,
        "host": os.uname().nodename,
        "host_kernel": f"{os.uname().sysname} {os.uname().release}",
        "dcss": VERSION,
        "figures": figures,
    }


def stop_configurations(run: str) -> int:
    """End what this process runs of a sweep; each takes its system down. Return how many there were."""
    return stop_children(run)


@contextmanager
def _slot(base: str | None, worker: str, slots: int) -> Iterator[tuple[int, Path]]:
    """Wait until this worker runs fewer configurations than it may.

    Yield the lock that says that it runs one, and an empty directory, which is removed; what an earlier process
    left in it, since it was killed, is removed before.
    """
    above = cache_directory() if base is None else private_directory(Path(base))
    directory = private_directory(above / "sweep")
    name = "".join(character if character.isalnum() else "-" for character in worker)
    paths = [directory / f"{name}.{number}" for number in range(slots)]
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    locks = [os.open(f"{path}.lock", flags, 0o600) for path in paths]
    try:
        number = _take_one(locks)
        rmtree(paths[number], ignore_errors=True)
        yield locks[number], private_directory(paths[number])
        rmtree(paths[number], ignore_errors=True)
    finally:
        for lock in locks:
            os.close(lock)


def _take_one(locks: Sequence[int]) -> int:
    while True:
        for number, lock in enumerate(locks):
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number
        time.sleep(_LOOK_SECONDS)


def _figures(command: str, out: bytes) -> tuple[Answer, str | None]:
    """Return the row's figures from the command's document, and what failed in it."""
    figures: RunFigures | KernelFigures = RunFigures() if command == "run" else KernelFigures()
    try:
        document = json.loads(out)
    except ValueError:
        return to_document(figures), None
    if "error" in document:
        said = list(document["error"]["lines"])
    elif command == "run":
        result = from_document(RunResult, document)
        figures, said = _run_figures(result), _guests_said(result)
    else:
        (kernel,) = document["kernels"]
        figures, said = _kernel_figures(kernel), kernel["untested"].splitlines()[:1]  # its console follows
    return to_document(figures), ": ".join(filter(None, said)) or None


def _guests_said(result: RunResult) -> list[str]:
    failed = [guest for guest in result.guests if guest.exit_status][:1]
    last = [line for guest in failed for line in guest.log.strip().splitlines()[-1:]]
    return [f"guest {guest.name}: exit status {guest.exit_status}" for guest in failed] + last


def _run_figures(result: RunResult) -> RunFigures:
    measure = result.measure
    return RunFigures(
        verdict=result.verify.verdict,
        guest_count=len(result.guests),
        failed_guests=sum(bool(guest.exit_status) for guest in result.guests),
        publish_seconds=result.publish_seconds,
        ready_seconds=result.ready_seconds,
        verify_cpu_seconds=result.verify.cpu_seconds,
        private_bytes=sum_of([guest.host.uss_bytes for guest in measure.guests]),
        copies_bytes=sum_of([guest.copies_bytes for guest in measure.guests]),
        segment_bytes=sum(segment.resident_bytes for segment in measure.segments),
        with_sharing_bytes=measure.totals.with_sharing_bytes,
        without_sharing_bytes=measure.totals.without_sharing_bytes,
        saved_bytes=measure.totals.saved_bytes,
    )


def _kernel_figures(kernel: Mapping[str, Any]) -> KernelFigures:
    outcomes = {check["check"]: check["outcome"] for check in kernel["checks"]}
    return KernelFigures(
        release=kernel["release"],
        checks=len(outcomes),
        checks_ok=list(outcomes.values()).count("ok"),
        checks_skipped=list(outcomes.values()).count("skipped"),
        checks_bad=tuple(name for name, outcome in outcomes.items() if outcome not in {"ok", "skipped"}),
    )
