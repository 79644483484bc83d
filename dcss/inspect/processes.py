"""The processes that somebody wants to look at: found by their ids, and told from others that get the same id later."""

import os
import select
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple, Self

from dcss.account.proc import ProcessGoneError, read_proc
from dcss.errors import ConfigError, LaunchError

_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, include/linux/sched.h
_STATE, _FLAGS = 0, 6  # fields of /proc/PID/stat behind the name, proc_pid_stat(5)


class NamedProcess(NamedTuple):
    """A process that was named, by its id, the name of its program, and a descriptor of it."""

    pid: int
    name: str
    pidfd: int

    @property
    def label(self) -> str:
        """What reports call it."""
        return f"process {self.pid} ({self.name})"

    @property
    def has_ended(self) -> bool:
        """Whether it has ended; its id may be another process's by now."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))


class NamedProcesses(AbstractContextManager["NamedProcesses"]):
    """The processes of some ids, each once. Raises ConfigError, with a line for each id that is none to look at."""

    def __init__(self, pids: Iterable[int]) -> None:
        findings: list[str] = []
        with ExitStack() as stack:
            found = []
            for pid in dict.fromkeys(pids):
                process = _find(pid)
                if isinstance(process, str):
                    findings.append(process)
                else:
                    found.append(process)
                    stack.callback(os.close, process.pidfd)
            if findings:
                raise ConfigError(*findings)
            self._descriptors = stack.pop_all()
        self.all: Sequence[NamedProcess] = tuple(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._descriptors.close()

    def check_alive(self) -> None:
        """Raise LaunchError if one of the processes has ended."""
        ended = [process.label for process in self.all if process.has_ended]
        if ended:
            raise LaunchError(
                f"{', '.join(ended)} ended while {'it was' if len(ended) == 1 else 'they were'} looked at"
            )


def name_of(pid: int) -> str:
    """Return the name of a process's program. Raises ProcessGoneError."""
    return read_proc(pid, "comm").rstrip(b"\n").decode(errors="replace")


def _find(pid: int) -> NamedProcess | str:
    """Return the process, or why there is none to look at."""
    try:
        leader = _leader_of(pid)
        if leader != pid:
            return f"PID {pid}: found a thread of process {leader}, wanted a process; name {leader}"
        name = name_of(pid)
        fields = read_proc(pid, "stat").rpartition(b") ")[2].split()
        if int(fields[_FLAGS]) & _KERNEL_THREAD:
            return f"PID {pid}: found kernel thread {name}, which maps nothing, wanted a process of a program"
        if fields[_STATE] in (b"Z", b"X"):
            return f"PID {pid}: found {name}, which has ended and waits for its parent (a zombie), wanted one that runs"
        return NamedProcess(pid, name, os.pidfd_open(pid))
    except (ProcessGoneError, ProcessLookupError):
        return f"PID {pid}: found no process of that id, wanted one that runs"


def _leader_of(pid: int) -> int:
    """Return the process that a thread belongs to: itself, if it is the first one."""
    fields = dict(line.split(b":", 1) for line in read_proc(pid, "status").splitlines() if b":" in line)
    return int(fields[b"Tgid"])
