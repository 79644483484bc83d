"""Wait for what is about to be so: with a limit that no busy machine reaches, for no test asserts an absolute time."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from select import POLLIN, poll

from dcss.host.process import is_stopped

LIMIT_SECONDS = 180.0
_PAUSE_SECONDS = 0.01


def wait_until(
    is_so: Callable[[], object], found: Callable[[], object] | None = None, *, seconds: float = LIMIT_SECONDS
) -> None:
    """Wait until a condition holds; fail, with what was found instead, when it does not in a long time."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, found() if found else "it did not come to be so"
        time.sleep(_PAUSE_SECONDS)


def kill(*pids: int) -> None:
    """Kill processes; return when each has ended with all of its threads, and with that has no lock any more."""
    for pid, pidfd in [(pid, os.pidfd_open(pid)) for pid in pids]:
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            ended = poll()
            ended.register(pidfd, POLLIN)
            assert ended.poll(LIMIT_SECONDS * 1000), f"process {pid} was killed, and lives on"
        finally:
            os.close(pidfd)


def wait_at_rest(pid: int) -> None:
    """Wait until a process has done what it had to do, such as closing the connection of a client that has ended."""
    wait_until(lambda: set(_states(pid)) <= {"S", "I"}, lambda: _states(pid))


def wait_connected(pid: int) -> None:
    """Wait until a command has connected to its CP."""
    wait_until(lambda: any(link.startswith("socket:") for link in _links(pid)), lambda: _links(pid))


def _links(pid: int) -> list[str]:
    """Return what a process has open."""
    found = []
    with suppress(FileNotFoundError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(str(path.readlink()))
    return found


def _states(pid: int) -> list[str]:
    """Return the state of each thread."""
    found = []
    for path in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append((path / "stat").read_text().rpartition(") ")[2][:1])
    return found


def stop(pid: int) -> None:
    """Stop a process; return when it stands still."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid))
