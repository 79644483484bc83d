"""A guest process's entry: takes its descriptors, starts the kernel, runs the workload and sends its verdict."""

import os
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple, TypeVar

from dcss.abi.console import (
    ACCESS,
    START,
    VERDICT,
    Start,
    Verdict,
    pack_access,
)
from dcss.abi.mount import IN_PLACE
from dcss.abi.timings import STAGES, Stage
from dcss.errors import DcssError, KernelError, StepError
from vmguest import hostmem
from vmguest.boot_record import BootDiffersError, BootRecord
from vmguest.cloning import CloneMaker, copied_bytes, reason_against, sharable_mount
from vmguest.hostmem import Reservation
from vmguest.kernel import Kernel
from vmguest.port import Call
from vmguest.printk import KernelPanicError
from vmguest.spec import TMPFS_MODE, GuestSpec
from vmguest.stopwatch import Stopwatch
from vmguest.user_level import SHELL, CommandStep, UserLevel
from vmguest.workload import STEPS, matches

FAILED = 1  # exit status of a guest whose workload failed
CRASHED = 70  # exit status of a guest whose kernel did (sysexits.h: EX_SOFTWARE)
Result = TypeVar("Result")


class _Action(NamedTuple):
    """A part of a guest's start, in a stage of it or in none.

    Clones have in common with their guest what is `sharable` and comes first.
    """

    place: str
    stage: Stage | None
    run: Callable[[], object]
    sharable: Callable[[], bool]


class GuestHost(NamedTuple):
    """What the host gives a guest's process: addresses, its two sockets, and the descriptors of its disks."""

    reservation: Reservation
    port: socket.socket
    console: socket.socket | None = None
    disks: Sequence[int] = ()


def boot(spec: GuestSpec, host: GuestHost) -> Kernel:
    """Start a kernel with its devices and mounts, which logs nowhere. Raises KernelError or Ext2FormatError."""
    kernel = _start_kernel(spec, spec.name, host, None)
    for action in _mounts(kernel, spec):
        action.run()
    return kernel


def run_guest(
    spec: GuestSpec,
    host: GuestHost,
    *,
    start: Start | None = None,
    clones: CloneMaker | None = None,
    level: UserLevel = SHELL,
) -> int:
    """Run one guest until the host closes its console; return the process's exit status.

    `start` is what the host is told of how it was started. `clones` makes others of it, in which this returns too.
    `level` runs its commands.
    """
    return _GuestRun(spec, host, start, level).run(clones)


class _GuestRun:
    """A guest from its first hypercall to its end; in a clone of the guest, that clone from then on."""

    def __init__(self, spec: GuestSpec, host: GuestHost, start: Start | None, level: UserLevel) -> None:
        assert host.console is not None, "somebody waits for its verdict"
        self._spec, self._host, self._start, self._level = spec, host, start, level
        self._console = host.console
        self._name, self._started = spec.name, monotonic()
        self._reported = False
        self._kept: object = None
        self._place = ""  # in the `run:` list, for messages
        self._access_told = False
        self._watch = Stopwatch(self._console) if spec.timings else None

    def run(self, clones: CloneMaker | None, given: Sequence[Call] = ()) -> int:
        """Run it; return the exit status. The hypercalls of `given` were made already, and answered."""
        try:
            kernel = self._perform(clones, given)
            if not self._reported:
                self._report(Verdict(0, monotonic() - self._started, *kernel.counters()))
        except BootDiffersError as differs:
            for address, size_bytes in self._host.reservation.ranges:
                hostmem.unmap(address, size_bytes)
            self._start = Start(cloned=False, reason=differs.reason)
            return self.run(None, differs.calls)
        except DcssError as error:
            return self._fail(FAILED, f"{self._name}: {self._place}{_reason(error)}")
        except Exception as error:
            os.write(sys.stderr.fileno(), traceback.format_exc().encode(errors="replace"))
            return self._fail(CRASHED, f"{self._name}: kernel crashed: {error!r}")
        except KernelPanicError as error:
            return self._fail(CRASHED, f"{self._name}: {self._place}{_panic(error)}")
        try:
            self._level.serve(kernel, self._console)
            kernel.power_off()
        except KernelPanicError as error:
            kernel.log.log("emerg", _panic(error))
            return CRASHED
        return 0

    def _perform(self, clones: CloneMaker | None, given: Sequence[Call]) -> Kernel:
        """Boot and run the `run:` list."""
        if clones is not None and (reason := reason_against(self._spec)):
            self._refuse(clones, reason)
            clones = None
        kernel = self._timed(
            "kernel",
            partial(_start_kernel, self._spec, self._name, self._host, sys.stdout.fileno(), given, self._watch),
        )
        if clones is None:
            kernel.machine.port.stop_recording()
        actions = deque(_mounts(kernel, self._spec))
        actions.append(_Action("", None, partial(self._tell_access, kernel), lambda: True))
        actions.extend(self._steps(kernel))
        while actions:
            if clones is not None and not actions[0].sharable():
                self._make_clones(kernel, clones, actions)
                clones = None
            action = actions.popleft()
            self._place = action.place
            self._timed(action.stage, action.run)
        if clones is not None:
            self._make_clones(kernel, clones, actions)
        return kernel

    def _timed(self, stage: Stage | None, function: Callable[[], Result]) -> Result:
        return function() if self._watch is None or stage is None else self._watch.run(stage, function)

    def _make_clones(self, kernel: Kernel, clones: CloneMaker, actions: deque[_Action]) -> None:
        """Have clones of the guest made as it is now, in each of which this goes on."""
        if _may_rehearse(kernel, actions):
            patterns = (pattern for verb, *words in self._spec.run if verb in STEPS for pattern in words)
            self._level.prepare_clones(kernel, next(patterns, None))
        if copied := copied_bytes(kernel):
            kernel.machine.port.stop_recording()
            self._refuse(clones, f"its boot made {copied} bytes of copies")
            return
        idle = not actions
        packets = [ACCESS + pack_access(kernel.access)] if self._access_told and kernel.access else []
        start = Start(cloned=True)
        if idle:
            packets.append(START + start.pack())
        record = BootRecord(kernel, self._console, packets, idle=idle, watch=self._watch)
        self._kept = record, clones, actions, packets  # to give them up would touch all that they are made of
        clone = clones.make(record)
        if clone is not None:
            self._name, self._started, self._start = clone.name, clone.seconds, start
            kernel.name = clone.name
            if clone.failure is not None:
                raise clone.failure
            self._reported = idle

    def _steps(self, kernel: Kernel) -> Iterator[_Action]:
        """Yield the steps of the `run:` list."""
        for number, (verb, *words) in enumerate(self._spec.run):
            stage = next((stage for stage in STAGES if stage == verb), None)
            run = partial(self._run_step, kernel, number, verb, *words)
            yield _Action(f"run[{number}]: ", stage, run, partial(STEPS.__contains__, verb))

    def _run_step(self, kernel: Kernel, number: int, verb: str, *words: str) -> None:
        limit_seconds = self._spec.time_limit_seconds
        deadline = None if limit_seconds is None else self._started + limit_seconds
        if verb == "exec":
            self._level.run_step(kernel, CommandStep(number, words, deadline))
        elif verb == "load":
            for dentry in matches(kernel.vfs, *words):
                kernel.modules.load(kernel.vfs, dentry)
        else:
            STEPS[verb](kernel.init, *words)
        if deadline is not None and monotonic() > deadline:
            raise StepError(f"the time limit of {limit_seconds:g} s for the run list is over")

    def _refuse(self, clones: CloneMaker, reason: str) -> None:
        self._start = Start(cloned=False, reason=reason)
        clones.refuse(reason)

    def _tell_access(self, kernel: Kernel) -> None:
        """Tell the host how files of the mounts are reached."""
        self._access_told = True
        if kernel.access:
            self._console.send(ACCESS + pack_access(kernel.access), socket.MSG_NOSIGNAL)

    def _report(self, verdict: Verdict) -> None:
        if self._watch is not None:
            self._watch.tell()
        if self._start is not None:
            self._console.send(START + self._start.pack(), socket.MSG_NOSIGNAL)
        self._console.send(VERDICT + verdict.pack(), socket.MSG_NOSIGNAL)

    def _fail(self, exit_status: int, message: str) -> int:
        os.write(sys.stderr.fileno(), f"{message}\n".encode(errors="replace"))
        self._report(Verdict(exit_status, monotonic() - self._started, 0, 0, 0, message=message))
        return exit_status


def _start_kernel(  # noqa: PLR0917
    spec: GuestSpec,
    name: str,
    host: GuestHost,
    log: int | None,
    given: Sequence[Call] = (),
    watch: Stopwatch | None = None,
) -> Kernel:
    """Start a kernel with its devices."""
    segments = ",".join(spec.dcssblk)
    command_line = f"dcssblk.segments={segments}"
    kernel = Kernel(host.reservation, spec.storage_bytes, host.port, log, name=name, command_line=command_line)
    kernel.machine.port.give(given)
    if watch is not None:
        kernel.machine.port.note_calls(partial(watch.note, "hypercalls"))
    kernel.dcssblk.load_module(segments)
    if spec.disks:
        from vmguest.block.file import FileDisk, add_file_disks  # imported by the fork server; most guests have none

        named = zip(spec.disks, host.disks, strict=True)
        add_file_disks(kernel.block_devices, [FileDisk(name, number, writable) for (name, writable), number in named])
    return kernel


def _mounts(kernel: Kernel, spec: GuestSpec) -> Iterator[_Action]:
    """Yield what mounts the file systems."""
    for device, at, options, mode in spec.mounts:
        yield _Action(
            "",
            "mount",
            partial(kernel.mount, device, at, options, mode),
            partial(sharable_mount, kernel, device, options, mode),
        )
    if any(mode not in {"", TMPFS_MODE} for *_, mode in spec.mounts):
        from vmguest.block.modes import drop_sources

        yield _Action("", "mount", partial(drop_sources, kernel.block_devices, kernel.dcssblk), lambda: False)


def _may_rehearse(kernel: Kernel, actions: Iterable[_Action]) -> bool:
    """Return whether a guest cannot tell that commands were run in it before the actions that are left.

    A shell mounts /proc and the like, which must not come before the mounts of the boot; and commands read files, which
    a mount that is not in place keeps in the page cache.
    """
    mounts_left = any(action.stage == "mount" for action in actions)
    return not mounts_left and all(mount.mode in IN_PLACE for mount in kernel.access)


def _panic(error: KernelPanicError) -> str:
    return f"Kernel panic - not syncing: {error}"


def _reason(error: DcssError) -> str:
    """Return what an error says; the number of an errno means nothing to a reader."""
    return error.strerror if isinstance(error, KernelError) and error.strerror else str(error)
