"""A mark in the environment of all that runs for a system's guests, by which what a killed CP left is found."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from select import POLLIN, poll
from typing import NamedTuple, Self

from dcss.host.process import TURN_SECONDS, has_ended_by, start_ticks

VARIABLE = "DCSS_STARTED_BY"
_KEY = f"{VARIABLE}=".encode()
_END_SECONDS = 5.0  # for a process that was killed and waits in the kernel


class Mark(NamedTuple):
    """Whose a process is: CP's system, its process, and what tells that from another with the same number."""

    system: str
    pid_namespace: int
    cp_pid: int
    cp_start_ticks: int

    @classmethod
    def of_this_process(cls, system: str) -> Self:
        """Return the mark of what this process starts as CP of `system`."""
        return cls(system, _pid_namespace(), os.getpid(), start_ticks(os.getpid()) or 0)

    @classmethod
    def parse(cls, text: bytes) -> "Mark | None":
        """Read the variable's value; None where it is none of ours."""
        try:
            system, *numbers = text.decode("ascii").rsplit(":", 3)
            namespace, pid, ticks = map(int, numbers)
        except ValueError:
            return None
        return cls(system, namespace, pid, ticks)

    def __str__(self) -> str:
        return f"{self.system}:{self.pid_namespace}:{self.cp_pid}:{self.cp_start_ticks}"

    @property
    def is_left(self) -> bool:
        """Its CP has ended. In another namespace its number means nothing here: then nothing is known."""
        return self.pid_namespace == _pid_namespace() and start_ticks(self.cp_pid) != self.cp_start_ticks


def end_marked(wanted: Callable[[Mark], bool]) -> tuple[str, ...]:
    """Kill every process with a mark that is `wanted`, wait for their end, and return what they were.

    What they fork meanwhile is killed as well: that goes on until none is left, or cannot be ended.
    """
    killed: dict[int, str] = {}
    deadline = time.monotonic() + _END_SECONDS
    while True:
        found, stuck = list(_marked(wanted)), False
        for pid, pidfd in found:
            try:
                with suppress(OSError):
                    killed.setdefault(pid, f"process {pid} ({Path(f'/proc/{pid}/comm').read_text('utf-8').strip()})")
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                stuck |= not _waited(pidfd, pid, deadline)
            finally:
                os.close(pidfd)
        now = time.monotonic()
        if not found or (stuck and now >= deadline) or now >= deadline + TURN_SECONDS:
            return tuple(killed.values())


def _marked(wanted: Callable[[Mark], bool]) -> Iterator[tuple[int, int]]:
    """Yield process id and pidfd of each process that lives and has a wanted mark."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - thousands of processes
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            pidfd = os.pidfd_open(int(name))
        except OSError:
            continue
        mark = _mark_of(name)
        # While it has not ended, what was read is its own: its number cannot have gone to another.
        if mark is not None and wanted(mark) and not _has_ended(pidfd):
            yield int(name), pidfd
        else:
            os.close(pidfd)


def _mark_of(pid: str) -> Mark | None:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():  # noqa: PTH116 - thousands of processes
            return None
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((Mark.parse(each[len(_KEY) :]) for each in variables if each.startswith(_KEY)), None)


def _waited(pidfd: int, pid: int, deadline: float) -> bool:
    if not has_ended_by(pidfd, pid, deadline):
        return False
    with suppress(ChildProcessError):  # not adopted by this process
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    return True


def _has_ended(pidfd: int) -> bool:
    ended = poll()
    ended.register(pidfd, POLLIN)
    return bool(ended.poll(0))


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
