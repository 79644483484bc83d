"""The s390x programs of a guest: what the rest of the guest starts, runs and ends them by."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import ENOENT, ENOTDIR
from types import MappingProxyType
from typing import NamedTuple

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest.credentials import ROOT
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.namei import existing
from vmguest.fs.open import FileDescription
from vmguest.fs.program_files import add_program_files
from vmguest.kernel import Kernel
from vmguest.pseudo_terminals import add_pseudo_terminals
from vmguest.s390x.debugger import Debugger
from vmguest.s390x.in_place import pages_in_place
from vmguest.s390x.jobs import GuestJobs
from vmguest.s390x.process import Process
from vmguest.s390x.process_view import ProcessViews
from vmguest.s390x.signals import SI_KERNEL, SIGKILL, SignalInfo
from vmguest.s390x.traps import Traps
from vmguest.terminal import Terminal

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_ENVIRONMENT = (b"PATH=" + DEFAULT_PATH, b"HOME=/root", b"USER=root", b"LOGNAME=root", b"SHELL=/bin/sh")
NO_EVENTS: Mapping[int, Callable[[], None]] = MappingProxyType({})


class Command(NamedTuple):
    """A program to run: its words, the first of which is looked for in PATH unless it has a slash."""

    words: tuple[bytes, ...]
    environment: tuple[bytes, ...] = DEFAULT_ENVIRONMENT
    directory: bytes = b"/"
    time_limit_seconds: float | None = None


class Programs:
    """The programs of one guest, on one CPU."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._system = Traps(kernel).system
        kernel.processes = ProcessViews(self._system)
        add_program_files(kernel)
        self.jobs = GuestJobs(self._system)
        add_pseudo_terminals(kernel, self.jobs, self.signal_group)

    def start(
        self,
        command: Command,
        files: Sequence[FileDescription],
        *,
        terminal: Terminal | None = None,
        trace: Callable[[bytes], None] | None = None,
    ) -> Process:
        """Start a program whose descriptors from 0 on are `files`; they are its own from then on.

        With a `terminal` it leads a session that the terminal controls. `trace` gets a line for each system call.
        Raises KernelError as execve(2) does: ENOENT, EACCES, ENOEXEC, ENOMEM.
        """
        vfs = self._kernel.vfs
        vfs.user, vfs.task_root = ROOT, None  # whoever ran last
        directory = vfs.resolve(command.directory)
        if not directory.inode.is_dir:
            raise KernelError(ENOTDIR, f"{os.fsdecode(command.directory)}: not a directory")
        path = self._find(command)
        descriptors = Descriptors(vfs)
        process = self._system.life.start(path, command.words, command.environment, descriptors, directory)
        for file in files:
            descriptors.install(file)
        process.trace = trace
        if terminal is not None:
            self.jobs.give(process, terminal)
        if command.time_limit_seconds is not None:
            self._limit(process, command.time_limit_seconds)
        return process

    def remove_terminal(self, terminal: Terminal) -> None:
        """Hang a terminal up, and have the guest know it no more."""
        terminal.remove(self._kernel.vfs)
        self.jobs.remove(terminal)

    def debug(self, process: Process, send: Callable[[bytes], None]) -> Debugger:
        """Have a process that was started just now wait for gdb; `send` takes what goes to gdb."""
        return Debugger(self._system, process, send)

    def run(self, until: Callable[[], bool], host_events: Mapping[int, Callable[[], None]] = NO_EVENTS) -> None:
        """Run programs until `until()` is true; `host_events[descriptor]()` is called when that can be read.

        Raises StalledError where nothing can happen any more.
        """
        self._system.scheduler.run(until, host_events)

    def rest(self) -> None:
        """Leave no thread running, so that this process can be forked; `run` goes on."""
        self._system.scheduler.rest()

    def signal(self, process: Process, number: int) -> None:
        """Send a signal to a process's group."""
        self.signal_group(process.group, number)

    def signal_group(self, group: int, number: int) -> None:
        """Send a signal to every process of a group."""
        self._system.delivery.send_group(group, SignalInfo(number, SI_KERNEL))

    def end(self, process: Process) -> None:
        """End a process and all that it started, at once."""
        for each in self._session_of(process):
            self._system.life.kill(each, SIGKILL)

    def failed(self, error: Exception, process: Process | None) -> None:
        """Tell of an error of the guest kernel's own, which is the end of the process that it served."""
        self._system.oops(error, process)

    @property
    def running(self) -> tuple[Process, ...]:
        """The processes that have not ended."""
        return tuple(each for each in self._system.table.processes.values() if each.ended is None)

    @property
    def anonymous_bytes(self) -> int:
        """Real storage that programs have of their own; page tables are the guest kernel's."""
        return self._system.frames.used_pages * PAGE_SIZE

    @property
    def in_place_bytes(self) -> int:
        """Distinct pages of segments that programs have in their tables, without those that `map:` steps mapped."""
        spaces = (process.space for process in self.running)
        first_frame = self._kernel.machine.storage.size_bytes >> PAGE_SHIFT
        return pages_in_place(spaces, first_frame, (task.mm for task in self._kernel.tasks)) * PAGE_SIZE

    def _session_of(self, process: Process) -> Iterable[Process]:
        """Return a process, its descendants, and others of its session, which may have lost their parents."""
        family = list(process.family())
        others = [each for each in self.running if each.session == process.session and each not in family]
        return [*family, *others]

    def _limit(self, process: Process, seconds: float) -> None:
        def over() -> None:
            if process.ended is None:
                name = os.fsdecode(process.name)
                self._kernel.log.log("err", f"{name}[{process.pid}]: ended: its time limit of {seconds:g} s is over")
                self.end(process)

        self._system.timers.at(self._system.monotonic() + seconds, over)

    def _find(self, command: Command) -> bytes:
        """Return the path of a program. Raises KernelError(ENOENT)."""
        name = command.words[0]
        if b"/" in name:
            return name
        path = next((entry[5:] for entry in command.environment if entry.startswith(b"PATH=")), DEFAULT_PATH)
        for directory in path.split(b":"):
            candidate = (directory or b".").rstrip(b"/") + b"/" + name
            found = existing(self._kernel.vfs, candidate)
            if found is not None and found.inode.is_regular and found.inode.mode & 0o111:
                return candidate
        raise KernelError(ENOENT, f"{os.fsdecode(name)}: no such program in {os.fsdecode(path)}")
