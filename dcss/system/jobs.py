"""What takes CP long, beside its loop: saves and exports go on while guests and clients are served."""

import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from dcss.cp.steps import Steps, Work
from dcss.errors import SpoolError
from dcss.rpc.loop import Loop, Timer

_AGAIN_SECONDS = 0.02  # until those are asked again whose turn it was not
Answer = TypeVar("Answer")
Outcome = Callable[[], Answer]  # returns the answer, or raises what went wrong


@dataclass(slots=True, eq=False)
class _Job:
    steps: Steps[Any]
    done: Callable[[Outcome[Any]], None]
    thread: threading.Thread | None = None


class Jobs:
    """Runs steps: each in the thread of `loop`, the work between two of them in a thread of its own."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._working: set[_Job] = set()
        self._waiting: deque[_Job] = deque()
        self._timer: Timer | None = None
        self._worked: deque[tuple[_Job, BaseException | None]] = deque()
        self._heard, self._told = socket.socketpair()
        loop.watch(self._heard, self._work_ended)

    @property
    def working(self) -> bool:
        """Some work is under way in another thread."""
        return bool(self._working)

    def run(self, steps: Steps[Answer], done: Callable[[Outcome[Answer]], None]) -> bool:
        """Have `done` called with the outcome of `steps`; return whether that was at once, for want of work."""
        return self._go_on(_Job(steps, done), None)

    def close(self) -> None:
        """Wait for the work under way, which cannot be cut short, and give up what it was for."""
        for job in self._working:
            if job.thread is not None:
                job.thread.join()
        for job in (*self._working, *self._waiting):
            job.steps.close()
        self._working.clear()
        self._waiting.clear()
        self._loop.forget(self._heard)
        self._heard.close()
        self._told.close()

    def _go_on(self, job: _Job, error: BaseException | None) -> bool:
        try:
            work = next(job.steps) if error is None else job.steps.throw(error)
        except StopIteration as stop:
            answer = stop.value
            job.done(lambda: answer)
            return True
        except Exception as failure:
            caught = failure
            job.done(lambda: _raise(caught))
            return True
        if work is None:
            self._waiting.append(job)
            if self._timer is None:
                self._timer = self._loop.after(_AGAIN_SECONDS, self._ask_again)
            return False
        return self._start(job, work)

    def _start(self, job: _Job, work: Work) -> bool:
        job.thread = threading.Thread(target=self._work, args=(job, work), name="dcss:copy", daemon=True)
        self._working.add(job)
        try:
            job.thread.start()
        except RuntimeError as error:  # a limit of processes
            self._working.remove(job)
            return self._go_on(job, SpoolError(f"nothing was copied: {error}; see ulimit -u and pids.max"))
        return False

    def _work(self, job: _Job, work: Work) -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:  # raised again where the work was asked for
            error = caught
        self._worked.append((job, error))
        self._told.send(b"\0")

    def _work_ended(self) -> None:
        self._heard.recv(1)
        job, error = self._worked.popleft()
        self._working.remove(job)
        self._go_on(job, error)

    def _ask_again(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            self._go_on(job, None)


def _raise(error: Exception) -> NoReturn:
    raise error
