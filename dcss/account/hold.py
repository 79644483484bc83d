"""Hold processes still while their memory is looked at: SIGSTOP to whole families, SIGCONT to those that ran before.

A family is a process with its living descendants. Members that were stopped already are left as they are. The cgroup
freezer would stop a family at once, but needs a delegated cgroup, which CP need not have.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from dcss.account.proc import family, read_whole
from dcss.host.process import TURN_SECONDS, wants_processor

_STOP_SECONDS: Final = 2.0  # for a process that waits uninterruptibly, for a disk or a network file system
_FIRST_WAIT_SECONDS: Final = 0.0002
_LONGEST_WAIT_SECONDS: Final = 0.01
_QUIET_PASSES: Final = 2
_STOPPED: Final = frozenset({b"T", b"t"})
_ENDED: Final = frozenset({b"", b"Z", b"X"})


class Hold:
    """A context in which the families of some processes stand still.

    `alone` are processes that are stopped without their descendants. `failures` says for each process that could not be
    stopped why; the caller decides what that means. Signals go through pidfds, which the hold has of its own: one that
    is sent late cannot hit another process that got the same number.
    """

    def __init__(self, roots: Iterable[int], *, alone: Iterable[int] = ()) -> None:
        self.failures: dict[int, str] = {}
        self._roots = tuple(roots)
        self._alone = tuple(alone)
        self._stopped: list[_Stopped] = []  # by us: these run again afterwards

    def __enter__(self) -> Self:
        try:
            self._stop_families()
        except BaseException:
            self._continue()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._continue()

    def _stop_families(self) -> None:
        """Stop the roots and all descendants, until two passes in a row find no new process."""
        self._stop(list(self._alone))
        known = set(self._alone)
        quiet_passes = 0
        while quiet_passes < _QUIET_PASSES:
            # A process that was not stopped yet may have forked: look again once all that are known stand still.
            new = [pid for pid in family(self._roots) if pid not in known]
            known.update(new)
            self._stop(new)
            quiet_passes = 0 if new else quiet_passes + 1

    def _stop(self, pids: list[int]) -> None:
        waiting = []
        for pid in pids:
            if _state(pid) in _STOPPED | _ENDED:
                continue
            try:
                # Noted first: should an interrupt come now, the process is not left behind stopped.
                self._stopped.append(_Stopped(os.pidfd_open(pid)))
            except ProcessLookupError:
                continue
            except OSError as error:
                self.failures[pid] = f"no descriptor for it: {error.strerror}"
                continue
            try:
                self._stopped[-1].send(signal.SIGSTOP)
                waiting.append(pid)
            except ProcessLookupError:
                self._stopped.pop().close()
            except PermissionError:
                self._stopped.pop().close()
                self.failures[pid] = "this user may not stop it"
        self._wait(waiting)

    def _wait(self, pids: list[int]) -> None:
        """Wait until each of `pids` is stopped or has ended, up to a limit."""
        began = time.monotonic()
        pause_seconds = _FIRST_WAIT_SECONDS
        while pids := [pid for pid in pids if not _stands_still(pid)]:
            seconds = time.monotonic() - began
            late = seconds >= TURN_SECONDS or (seconds >= _STOP_SECONDS and not any(map(wants_processor, pids)))
            if late and (pids := [pid for pid in pids if not _stands_still(pid)]):
                reason = f"it did not stop within {_STOP_SECONDS:g} s (state {{}}: waiting in the kernel, if D)"
                self.failures |= {pid: reason.format(_state(pid).decode()) for pid in pids}
                return
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_WAIT_SECONDS)

    def _continue(self) -> None:
        while self._stopped:
            with suppress(ProcessLookupError, PermissionError):
                self._stopped[-1].send(signal.SIGCONT)
            # Not before the signal: an interrupt must find in the list what is still to be continued.
            self._stopped.pop().close()


class _Stopped(NamedTuple):
    """A process that was stopped, or is about to be."""

    pidfd: int

    def send(self, number: signal.Signals) -> None:
        """Send a signal. Raises ProcessLookupError where it has ended, PermissionError."""
        signal.pidfd_send_signal(self.pidfd, number)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.pidfd)


def _stands_still(pid: int) -> bool:
    """Say whether every thread of a process is stopped or has ended."""
    if _state(pid) not in _STOPPED | _ENDED:
        return False
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - a Path for each takes as long as reading
    except (FileNotFoundError, ProcessLookupError):
        return True
    return all(_state(pid, f"task/{thread}/stat") in _STOPPED | _ENDED for thread in threads if thread != str(pid))


def _state(pid: int, book: str = "stat") -> bytes:
    """Return the state letter of a process or thread, or nothing where there is none."""
    try:
        # The name in parentheses may hold anything, parentheses too.
        return read_whole(f"/proc/{pid}/{book}").rpartition(b") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return b""
