"""Run a program and all that it starts under ptrace(2), and look at each process before it loses memory or ends.

Source: ptrace(2) on PTRACE_SEIZE, PTRACE_O_TRACESECCOMP and PTRACE_GET_SYSCALL_INFO (Linux 5.3); seccomp(2). Programs
stop where a filter says so (dcss.host.traced_calls), and run at full speed in between.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from errno import ESRCH
from pathlib import Path
from typing import Final, Protocol

from dcss.errors import LaunchError
from dcss.host.ptrace import INTERRUPT, SEIZE, WALL, request
from dcss.host.traced_calls import NAMES

_CONT, _LISTEN, _GET_SYSCALL_INFO, _GETEVENTMSG = 7, 0x4208, 0x420E, 0x4201
_EVENT_EXEC, _EVENT_EXIT, _EVENT_SECCOMP, _EVENT_STOP = 4, 6, 7, 128
_OPTIONS: Final = 0x2 | 0x4 | 0x8 | 1 << _EVENT_EXEC | 1 << _EVENT_EXIT | 1 << _EVENT_SECCOMP | 0x100000
"""Fork, vfork and clone are followed, and all ends with the tracer (PTRACE_O_EXITKILL)."""
_WNOTHREAD: Final = 0x20000000
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ROOT: Final = Path(__file__).resolve().parents[2]
_PROGRAM: Final = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from dcss.host.traced_calls import main; main()"


class Observer(Protocol):
    """What looks at the processes of a run while they stand still."""

    def calling(self, tid: int, call: str, arguments: Sequence[int]) -> None:
        """A thread is about to make a system call of dcss.host.traced_calls.CALLS."""

    def ending(self, tid: int) -> None:
        """The last thread of a process that looks at its memory is about to end."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended: the exit status of its first process, negative for a signal, and whether Ctrl-C ended it."""

    status: int
    interrupted: bool


class _SyscallInfo(ctypes.Structure):
    """struct ptrace_syscall_info at a stop of seccomp."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("data", ctypes.c_uint32),
    )


def trace_run(command: Sequence[str], observer: Observer) -> RunEnd:
    """Run a command until all that it started has ended; its standard output goes to standard error.

    Ctrl-C ends it all, and the run is as long as it was; SIGTERM and SIGHUP end it and take effect then. It must be
    called in the main thread. Raises LaunchError where the command cannot be started or traced.
    """
    with _Signals() as signals:
        run = _TracedRun(observer)
        with _started(command) as (process, begin):
            run.add(process.pid)
            begin()
            run.follow(signals)
            process.returncode = run.statuses.pop(process.pid)
        return RunEnd(process.returncode, signals.number == signal.SIGINT)


@contextmanager
def _started(command: Sequence[str]) -> "Iterator[tuple[subprocess.Popen[bytes], Callable[[], object]]]":
    """Start a command as a process that waits until it is traced; yield that, and what lets it begin."""
    traced, begin = os.pipe()
    faults, fault = os.pipe()
    words = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(traced), str(fault), *command]
    try:
        try:
            process = subprocess.Popen(words, stdout=2, pass_fds=(traced, fault))
        finally:
            os.close(traced)
            os.close(fault)
        try:
            # Popen returns before the kernel is done with the exec of our own program, which is not the command's.
            os.read(faults, 1)
            yield process, lambda: os.write(begin, b"+")
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        if text := os.read(faults, 256):
            raise LaunchError(f"{command[0]} cannot be started: {os.fsdecode(text)}")
    finally:
        os.close(begin)
        os.close(faults)


class _Signals:
    """Ends of processes and the user's signals, in a pipe, so that waiting for them misses none."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "_Signals":
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in handled}
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)
        if self.number not in (0, signal.SIGINT):
            signal.raise_signal(self.number)

    def _note(self, number: int, _frame: object) -> None:
        self.number = self.number or number

    def wait(self) -> None:
        """Wait until a signal comes."""
        select.select([self._read], [], [])
        with suppress(BlockingIOError):
            os.read(self._read, 1 << 12)


@dataclass(slots=True)
class _TracedRun:
    """The threads of a run, by their ids, each with that of its process."""

    observer: Observer
    statuses: dict[int, int] = field(default_factory=dict)
    _process_of: dict[int, int] = field(default_factory=dict)
    _begun: bool = False
    _ending: bool = False

    def add(self, pid: int) -> None:
        """Begin to trace a process. Raises LaunchError."""
        try:
            request(SEIZE, pid, 0, _OPTIONS)
        except OSError as error:
            raise LaunchError(
                f"a run cannot be traced here: {error.strerror}; the kernel allows it by kernel.yama.ptrace_scope of 2"
                " or less, and a container by CAP_SYS_PTRACE"
            ) from error
        self._process_of[pid] = pid

    def follow(self, signals: _Signals) -> None:
        """Handle stops until every process of the run has ended."""
        while True:
            try:
                tid, status = os.waitpid(-1, os.WNOHANG | WALL | _WNOTHREAD)
            except ChildProcessError:
                return
            if tid:
                self._handle(tid, status)
            else:
                signals.wait()
            if signals.number and not self._ending:
                self._end()

    def _end(self) -> None:
        """Stop every thread, which is looked at and killed when it has stopped."""
        self._ending = True
        for tid in tuple(self._process_of):
            with suppress(ProcessLookupError):
                request(INTERRUPT, tid)

    def _handle(self, tid: int, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self._process_of.pop(tid, None)
            self.statuses[tid] = os.waitstatus_to_exitcode(status)
            return
        if tid not in self._process_of:
            self._process_of[tid] = _process_of(tid)
        with suppress(ProcessLookupError):  # it was killed while it stood still
            number, event = os.WSTOPSIG(status), status >> 16
            if event == _EVENT_EXIT:
                self._exiting(tid)
            elif self._ending:
                self._look_at(tid)
                os.kill(self._process_of[tid], signal.SIGKILL)
                return
            elif event == _EVENT_EXEC:
                self._executed(tid)
            elif event == _EVENT_SECCOMP and self._begun:
                self._calling(tid)
            elif event == _EVENT_STOP and number != signal.SIGTRAP:
                request(_LISTEN, tid)  # stopped as by Ctrl-Z: it goes on by SIGCONT
                return
            request(_CONT, tid, 0, 0 if event else number)

    def _calling(self, tid: int) -> None:
        info = _SyscallInfo()
        request(_GET_SYSCALL_INFO, tid, ctypes.sizeof(info), ctypes.addressof(info))
        self.observer.calling(tid, NAMES[info.data], tuple(info.arguments))

    def _executed(self, tid: int) -> None:
        """Go on with the thread that executed a program, which has its process's id now; the others are gone."""
        self._begun = True
        former = ctypes.c_ulong()
        request(_GETEVENTMSG, tid, 0, ctypes.addressof(former))
        if former.value != tid:
            self._process_of.pop(former.value, None)

    def _exiting(self, tid: int) -> None:
        process = self._process_of.pop(tid)
        if tid == process or process not in self._process_of.values():
            self._look_at(tid)

    def _look_at(self, tid: int) -> None:
        if self._begun:
            self.observer.ending(tid)


def _process_of(tid: int) -> int:
    """Return the process of a thread that stands still; itself, where it was killed since."""
    try:
        text = Path(f"/proc/{tid}/status").read_bytes()
    except OSError as error:
        if error.errno not in (ESRCH, 2):
            raise
        return tid
    return int(text.partition(b"\nTgid:")[2].split(maxsplit=1)[0])
