"""Which thread the one CPU runs, and what the others wait for.

A thread runs until it waits, ends, or its time slice is over. What a waiting thread waits for is asked again after each
slice: with the few threads of a guest that is cheaper than to keep queues for everything that can be waited for.
"""

import select
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic

from dcss.errors import DcssError
from vmguest.s390x.cpu import Cpu
from vmguest.s390x.process import Thread
from vmguest.s390x.signals import SIGCONT, SIGKILL, bit
from vmguest.s390x.timers import Timers

SLICE_SECONDS = 0.01
_LOOK_SECONDS = 0.002  # between looks at the host, while programs run
_LONGEST_WAIT_SECONDS = 3600.0  # at once: poll(2) takes no more than 24 days


class StalledError(DcssError):
    """All programs wait for something that cannot happen any more."""


class Scheduler:
    """Runs threads in turn. `resume(thread)` prepares a loaded one, and says whether the CPU is to run it.

    `failed(thread, error)` is called where the emulator cannot go on with a thread (CpuError), or the guest kernel
    failed while it served one, which it ends: the others go on. The thread is None where it is not known.
    """

    def __init__(
        self,
        cpu: Cpu,
        timers: Timers,
        resume: Callable[[Thread], bool],
        failed: Callable[[Thread | None, Exception], None],
    ) -> None:
        self._cpu = cpu
        self._timers = timers
        self._resume = resume
        self._failed = failed
        self._ready: deque[Thread] = deque()
        self._waiting: dict[Thread, None] = {}
        self._loaded: Thread | None = None
        self._ticker: _Ticker | None = None
        self.switches = 0
        self._news = True  # a thread has ended, for which somebody may wait
        self.current: Thread | None = None

    def add(self, thread: Thread) -> None:
        """Have a new thread run in its turn."""
        self._ready.append(thread)

    def forget(self, thread: Thread) -> None:
        """Run a thread that has ended no more."""
        self._waiting.pop(thread, None)
        self._news = True
        if self._loaded is thread:
            self._loaded = None

    def run(self, until: Callable[[], bool], host_events: Mapping[int, Callable[[], None]]) -> None:
        """Run threads until `until()` is true; `host_events[descriptor]()` is called when that can be read.

        Raises StalledError where nothing can happen any more.
        """
        poll = select.poll()
        for descriptor in host_events:
            poll.register(descriptor, select.POLLIN)
        if self._ticker is None:
            self._ticker = _Ticker(self._cpu)
        self._ticker.start()
        looked = 0.0
        try:
            while True:
                now = monotonic()
                if not self._ready or self._news or now - looked >= _LOOK_SECONDS:
                    looked, self._news = now, False
                    if until():
                        return
                    self._wake(now)
                    self._take_events(poll, host_events)
                    self._timers.fire(partial(self._failed, None))
                elif self._waiting:
                    self._wake(now)
                if self._ready:
                    self._step(self._ready.popleft())
        finally:
            self._ticker.pause()

    def rest(self) -> None:
        """End the thread that ends time slices, before this process is forked; `run` makes a new one."""
        if self._ticker is not None:
            self._ticker.end()
            self._ticker = None

    def load(self, thread: Thread) -> None:
        """Load a thread's state into the CPU; the one that was loaded is saved."""
        before = self._loaded
        if before is thread:
            return
        if before is not None:
            self._cpu.save(before.context)
        self._cpu.load(thread.context)
        self._loaded = thread
        self.switches += 1
        if before is None or before.process.space is not thread.process.space:
            self._cpu.purge()
            thread.process.space.stale = False

    def unload(self) -> None:
        """Have the next thread be loaded, whichever it is: the CPU holds nobody's state."""
        self._loaded = None

    def purge_if_stale(self, thread: Thread) -> None:
        """Have the CPU forget translations that are not true any more."""
        space = thread.process.space
        if space.stale:
            self._cpu.purge()
            space.stale = False

    def _step(self, thread: Thread) -> None:
        if thread.ended:
            return
        try:
            self._take_turn(thread)
        except ConnectionError:  # the host is gone, which takes what programs write
            raise
        except Exception as error:  # of this program alone: the others have their own state
            self._failed(thread, error)
            self._loaded = None
        self.current = None
        self._put_back(thread)

    def _take_turn(self, thread: Thread) -> None:
        self.load(thread)
        self.current = thread
        debugger = thread.process.debugger
        waited = thread.in_call
        if self._resume(thread) and not thread.ended:
            self.purge_if_stale(thread)
            one = debugger is not None and debugger.steps(thread)
            begin = monotonic()
            if not (one and waited):  # else the call that it waited in was the one instruction
                self._cpu.run(one=one)
            thread.process.user_seconds += monotonic() - begin
        if debugger is not None:
            debugger.paused(thread)

    def _put_back(self, thread: Thread) -> None:
        if thread.ended:
            return
        if thread.waiting is not None or thread.process.stopped_by or thread.held:
            self._waiting[thread] = None
        else:
            self._ready.append(thread)

    def _wake(self, now: float) -> None:
        for thread in [each for each in tuple(self._waiting) if self._is_awake(each, now)]:
            self._waiting.pop(thread, None)
            if not thread.ended:
                self._ready.append(thread)

    def _take_events(self, poll: select.poll, host_events: Mapping[int, Callable[[], None]]) -> None:
        """Wait for the host where no thread is ready, and do what has come."""
        timeout: float | None = 0.0
        if not self._ready and not self._news:
            due = self._next_due(now := monotonic())
            if due is None and not host_events:
                raise StalledError("all programs wait, and nothing that they wait for can happen")
            timeout = None if due is None else min(max(0.0, due - now), _LONGEST_WAIT_SECONDS) * 1000 + 1
        elif not host_events:
            return
        for descriptor, _ in poll.poll(timeout):
            host_events[descriptor]()

    def _next_due(self, now: float) -> float | None:
        """Return when time alone may wake a thread or a timer is due; those that stand still have no time."""
        dues = [self._due(each, now) for each in tuple(self._waiting) if not each.held and not each.process.stopped_by]
        return min((due for due in (*dues, self._timers.next_due) if due is not None), default=None)

    def _due(self, thread: Thread, now: float) -> float | None:
        try:
            return None if thread.waiting is None else thread.waiting.due(now)
        except Exception as error:  # of the one that waits
            self._failed(thread, error)
            return now

    def _is_awake(self, thread: Thread, now: float) -> bool:
        if thread.held:
            return False
        if thread.process.stopped_by:
            return bool((thread.pending.mask | thread.process.pending.mask) & (bit(SIGKILL) | bit(SIGCONT)))
        waiting = thread.waiting
        try:
            return (
                waiting is None
                or bool(thread.deliverable)
                or (waiting.deadline is not None and now >= waiting.deadline)
                or waiting.ready()
            )
        except Exception as error:  # of the one that waits
            self._failed(thread, error)
            return True


class _Ticker:
    """A thread that ends time slices."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended = False

    def start(self) -> None:
        """Begin, or go on."""
        if self._thread is None or not self._thread.is_alive():
            self._wanted = threading.Event()
            self._thread = threading.Thread(target=self._tick, name="time slices", daemon=True)
            self._thread.start()
        self._wanted.set()

    def pause(self) -> None:
        """Sleep until `start`."""
        self._wanted.clear()

    def end(self) -> None:
        """End the thread, and wait for that."""
        self._ended = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _tick(self) -> None:
        pause = threading.Event()
        while True:
            self._wanted.wait()
            if self._ended:
                return
            pause.wait(SLICE_SECONDS)
            self._cpu.stops.request()
