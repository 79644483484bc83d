"""The user level of a guest of engine s390x: programs, as steps of the `run:` list and for the host."""

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from socket import socket
from time import monotonic
from typing import Protocol

from dcss.errors import KernelError, StepError
from vmguest.fs.open import O_RDONLY, O_WRONLY, open_file
from vmguest.fs.stream import OutputFile, open_stream
from vmguest.kernel import Kernel
from vmguest.s390x.environment import with_defaults
from vmguest.s390x.host_console import HostConsole
from vmguest.s390x.process import Process
from vmguest.s390x.programs import Command, Programs
from vmguest.s390x.warming import warm
from vmguest.spec import GuestSpec, ProgramOptions
from vmguest.user_level import CommandStep


class ProgramHost(Protocol):
    """What the host does to a guest's process in which programs run."""

    def cpu_made(self) -> None:
        """Advise the host's kernel on the memory of a CPU that was made."""
        ...

    def gathered(self) -> AbstractContextManager[None]:
        """Have the guest kernel's code that is called meanwhile lie together in memory."""
        ...

    def isolate(self) -> Sequence[str]:
        """Take from the process what only its boot needed of the host; return what to log about that."""
        ...


class ProgramLevel:
    """Runs the programs of one guest; see vmguest.user_level.UserLevel."""

    def __init__(self, spec: GuestSpec, host: ProgramHost) -> None:
        self._host = host
        self._isolated = False
        self._options = {options.step: options for options in spec.programs}
        self._time_limit_seconds = spec.time_limit_seconds
        self._programs: Programs | None = None
        self._background: list[tuple[CommandStep, Process]] = []

    def prepare_clones(self, kernel: Kernel, pattern: str | None) -> None:  # noqa: ARG002
        """Make the CPU, and have it translate what most programs begin with: clones inherit that."""
        if kernel.vfs.on_rootfs(kernel.vfs.root()):
            return  # its files, made when programs begin, have the guest's own name
        programs = self._programs_of(kernel)
        warm(kernel, programs, self._host.gathered)
        programs.rest()

    def run_step(self, kernel: Kernel, step: CommandStep) -> None:
        """Run an `exec` step; with `background: true`, start it. Raises StepError for a status other than 0."""
        programs = self._begin(kernel)
        options = self._options.get(step.number, ProgramOptions(step.number))
        seconds = None if step.deadline is None else max(0.0, step.deadline - monotonic())
        process = _start(kernel, programs, step, options, None if options.background else seconds)
        if options.background:
            self._background.append((step, process))
            return
        programs.run(lambda: self._note_background(kernel) or process.exit_status is not None)
        if process.exit_status == 0:
            return
        line = f"exec {shlex.join(step.words)}"
        if step.deadline is not None and monotonic() >= step.deadline:
            raise StepError(f"{line}: ended after the time limit of {self._time_limit_seconds:g} s for the run list")
        raise StepError(f"{line}: exit status {process.exit_status}")

    def serve(self, kernel: Kernel, console: socket) -> None:
        """Run programs for the host until it closes its side."""
        programs = self._begin(kernel)
        HostConsole(kernel, programs, console, lambda: self._note_background(kernel)).serve()

    def _begin(self, kernel: Kernel) -> Programs:
        """Return what runs programs; the guest is isolated from then on."""
        programs = self._programs_of(kernel)
        if not self._isolated:
            self._isolated = True
            for line in self._host.isolate():
                kernel.log.log("info", f"isolation: {line}")
        return programs

    def _programs_of(self, kernel: Kernel) -> Programs:
        if self._programs is None:
            programs = self._programs = Programs(kernel)
            self._host.cpu_made()
            kernel.program_bytes = lambda: (programs.anonymous_bytes, programs.in_place_bytes)
        return self._programs

    def _note_background(self, kernel: Kernel) -> bool:
        """Log which steps in the background have ended; return False."""
        for each in [each for each in self._background if each[1].exit_status is not None]:
            self._background.remove(each)
            step, process = each
            level = "info" if process.exit_status == 0 else "warn"
            kernel.log.log(level, f"exec {shlex.join(step.words)}: ended with exit status {process.exit_status}")
        return False


def _start(
    kernel: Kernel, programs: Programs, step: CommandStep, options: ProgramOptions, seconds: float | None
) -> Process:
    """Start a step's program, output to the guest's log. Raises StepError where it cannot be started."""
    output = OutputFile(_log)
    files = [
        open_file(kernel.vfs, b"/dev/null", O_RDONLY),
        *(open_stream(kernel.vfs, output, O_WRONLY) for _ in range(2)),
    ]
    command = Command(
        tuple(map(os.fsencode, step.words)),
        with_defaults(tuple(map(os.fsencode, options.environment))),
        time_limit_seconds=seconds,
    )
    try:
        return programs.start(command, files, trace=_log if options.strace else None)
    except KernelError as error:
        for file in files:
            file.close()
        raise StepError(f"exec {shlex.join(step.words)}: {error.strerror or error}") from error


def _log(data: bytes) -> None:
    """Write all of it to the guest's log."""
    log, view = sys.stdout.fileno(), memoryview(data)
    while view:
        view = view[os.write(log, view) :]
