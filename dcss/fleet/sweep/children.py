"""Commands that run for a sweep in processes of their own, and end with it."""

import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

_GRACE_SECONDS: Final = 30.0  # for taking a system down
_running: dict[int, tuple[str, "subprocess.Popen[bytes]"]] = {}
_running_lock: Final = Lock()


def start_child(
    run: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    *,
    pass_fds: Collection[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start a `dcss` command that ends with this thread; its output goes to `stdout` and `stderr` in the directory."""
    with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err, _running_lock:
        process = subprocess.Popen(
            [sys.executable, "-m", "dcss.fleet.tied_child", str(os.getpid()), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others
        )
        _running[process.pid] = run, process
    return process


def wait_for_child(process: "subprocess.Popen[bytes]", limit_seconds: float | None) -> bool:
    """Wait until a command has ended; return True if it was ended since its time was over."""
    timed_out = False
    try:
        process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    finally:
        with _running_lock:
            del _running[process.pid]
    return timed_out


def stop_children(run: str) -> int:
    """End what this process runs of a sweep; return how many commands there were."""
    with _running_lock:
        found = [process for of, process in _running.values() if of == run]
        for process in found:
            with suppress(ProcessLookupError):
                process.terminate()
    return len(found)
