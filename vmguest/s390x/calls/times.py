"""System calls on clocks, sleep and timers."""

from collections.abc import Callable
from errno import EAGAIN, EFAULT, EINVAL, EPERM
from time import CLOCK_MONOTONIC, CLOCK_REALTIME, monotonic
from time import clock_getres as host_resolution
from time import clock_gettime as host_time
from typing import NamedTuple

from dcss.errors import KernelError
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import TIMESPEC, TIMEVAL, ULONG, timespec, timeval
from vmguest.s390x.process import Process, Thread, WaitError
from vmguest.s390x.signals import SIGALRM, SIGPROF, SIGRTMAX, SIGVTALRM, SignalInfo
from vmguest.s390x.system import System
from vmguest.s390x.timers import Timer

CALLS = CallGroup()
_PROCESS_CPU, _THREAD_CPU = 2, 3
# Clocks of the guest that are one of the host's: coarse ones, boot time and the like.
_CLOCKS = {0: CLOCK_REALTIME, 1: CLOCK_MONOTONIC, 4: CLOCK_MONOTONIC, 5: CLOCK_REALTIME, 6: CLOCK_MONOTONIC}
_CLOCKS |= {7: CLOCK_MONOTONIC, 8: CLOCK_REALTIME, 9: CLOCK_MONOTONIC, 11: CLOCK_REALTIME}
_TIMER_ABSTIME = 1
_TICKS = 100
_ITIMER_REAL, _ITIMER_VIRTUAL, _ITIMER_PROF = 0, 1, 2


def _now(thread: Thread, clock: int) -> tuple[int, int]:
    """Return a clock's time in seconds and nanoseconds. Raises KernelError(EINVAL)."""
    if clock in {_PROCESS_CPU, _THREAD_CPU} or clock < 0:
        return timespec(thread.process.user_seconds)
    if clock not in _CLOCKS:
        raise KernelError(EINVAL, f"clock {clock}")
    return timespec(host_time(_CLOCKS[clock]))


@CALLS.add("int", "address")
def clock_gettime(_system: System, thread: Thread, clock: int, buffer: int) -> int:
    """Tell the time."""
    thread.process.space.write(buffer, TIMESPEC.pack(*_now(thread, clock)))
    return 0


@CALLS.add("int", "address")
def clock_getres(_system: System, thread: Thread, clock: int, buffer: int) -> int:
    """Tell how exact a clock is."""
    _now(thread, clock)
    if buffer:
        thread.process.space.write(buffer, TIMESPEC.pack(*timespec(host_resolution(_CLOCKS.get(clock, 1)))))
    return 0


@CALLS.add("int", "address")
def clock_settime(_system: System, _thread: Thread, clock: int, _time: int) -> int:
    """Refuse: guests have the time of the host."""
    raise KernelError(EPERM, f"clock {clock} cannot be set")


@CALLS.add("address", "address")
def gettimeofday(system: System, thread: Thread, buffer: int, zone: int) -> int:
    """Tell the time of day."""
    if buffer:
        thread.process.space.write(buffer, TIMEVAL.pack(*timeval(system.now())))
    if zone:
        thread.process.space.write(zone, bytes(8))
    return 0


@CALLS.add("address")
def times(_system: System, thread: Thread, buffer: int) -> int:
    """Tell the time used, in hundredths of a second."""
    process = thread.process
    if buffer:
        ticks = (process.user_seconds, 0.0, process.children_seconds, 0.0)
        process.space.write(buffer, b"".join(ULONG.pack(int(seconds * _TICKS)) for seconds in ticks))
    return int(monotonic() * _TICKS)


# -- sleep -------------------------------------------------------------------------------------------------------------


def read_timeout(thread: Thread, address: int) -> float | None:
    """Return a struct timespec in seconds, None for no address. Raises KernelError: EFAULT, EINVAL."""
    if not address:
        return None
    seconds, nanoseconds = TIMESPEC.unpack(thread.process.space.read(address, TIMESPEC.size))
    if seconds < 0 or not 0 <= nanoseconds < 1_000_000_000:
        raise KernelError(EINVAL, f"time of {seconds} s and {nanoseconds} ns")
    return float(seconds + nanoseconds / 1e9)


def deadline_in(thread: Thread, seconds: float | None) -> float | None:
    """Return when a call's time is over; the same each time it is tried again."""
    if thread.deadline is None and seconds is not None:
        thread.deadline = monotonic() + seconds
    return thread.deadline


def is_over(deadline: float | None) -> bool:
    """Return whether a deadline has come."""
    return deadline is not None and monotonic() >= deadline


def _sleep(thread: Thread, seconds: float, remaining: int) -> int:
    deadline = deadline_in(thread, seconds)
    assert deadline is not None
    if is_over(deadline):
        return 0
    if thread.deliverable and remaining:
        left = max(0.0, deadline - monotonic())
        thread.process.space.write(remaining, TIMESPEC.pack(*timespec(left)))
    raise WaitError(lambda: False, deadline, restart=False)


@CALLS.add("address", "address")
def nanosleep(_system: System, thread: Thread, wanted: int, remaining: int) -> int:
    """Sleep."""
    seconds = read_timeout(thread, wanted)
    if seconds is None:
        raise KernelError(EFAULT, "nanosleep without a time")
    return _sleep(thread, seconds, remaining)


@CALLS.add("int", "int", "address", "address")
def clock_nanosleep(_system: System, thread: Thread, clock: int, flags: int, wanted: int, remaining: int) -> int:
    """Sleep for, or until, a time."""
    seconds = read_timeout(thread, wanted)
    if seconds is None:
        raise KernelError(EFAULT, "clock_nanosleep without a time")
    if clock == _THREAD_CPU:
        raise KernelError(EINVAL, f"clock {clock}")
    if not flags & _TIMER_ABSTIME:
        _now(thread, clock)
        return _sleep(thread, seconds, remaining)
    now, nanoseconds = _now(thread, clock)
    return _sleep(thread, max(0.0, seconds - now - nanoseconds / 1e9), 0)


# -- timers ------------------------------------------------------------------------------------------------------------


class IntervalTimer:
    """A timer that sends a process a signal, perhaps again and again."""

    def __init__(self, system: System, process: Process, fire: Callable[[], object], *, silent: bool = False) -> None:
        """`silent` says that `fire` does nothing: nobody notices when exactly it is due."""
        self._system, self._process, self._fire, self._silent = system, process, fire, silent
        self._timer: Timer | None = None
        self.interval_seconds = 0.0

    @property
    def left_seconds(self) -> float:
        """In how many seconds it is due; 0 where it is not set."""
        if self._timer is None or self._timer.call is None:
            return 0.0
        return max(0.0 if self._silent else 1e-9, self._timer.due - monotonic())

    def set(self, seconds: float, interval_seconds: float) -> None:
        """Set it anew; with 0 seconds it is off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.interval_seconds = interval_seconds
        if seconds > 0:
            self._timer = self._system.timers.at(monotonic() + seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._process.ended is None:
            self._fire()
            if self.interval_seconds:
                self.set(self.interval_seconds, self.interval_seconds)


_SIGEV_SIGNAL, _SIGEV_NONE, _SIGEV_THREAD, _SIGEV_THREAD_ID = 0, 1, 2, 4
_MOST_TIMERS = 1024  # RLIMIT_SIGPENDING: each has its signal made beforehand
_SIGEV_KINDS = frozenset({_SIGEV_SIGNAL, _SIGEV_NONE, _SIGEV_THREAD, _SIGEV_THREAD_ID})


class _PosixTimer(NamedTuple):
    clock: int
    timer: IntervalTimer


def _real_timer(system: System, process: Process, which: int = _ITIMER_REAL) -> IntervalTimer:
    """Return a process's interval timer. Those of CPU time go by the clock on the wall."""
    if which not in {_ITIMER_REAL, _ITIMER_VIRTUAL, _ITIMER_PROF}:
        raise KernelError(EINVAL, f"interval timer {which}")
    timer: IntervalTimer | None = process.timers.get(which - 3)
    if timer is None:
        number = (SIGALRM, SIGVTALRM, SIGPROF)[which]
        timer = IntervalTimer(system, process, lambda: system.delivery.send(process, SignalInfo(number, 0x80)))
        process.timers[which - 3] = timer
    return timer


@CALLS.add("uint")
def alarm(system: System, thread: Thread, seconds: int) -> int:
    """Send SIGALRM in so many seconds."""
    timer = _real_timer(system, thread.process)
    left = timer.left_seconds
    timer.set(seconds, 0)
    return 0 if not left else max(1, round(left))


def _itimerval(thread: Thread, address: int) -> tuple[float, float]:
    packed = thread.process.space.read(address, 2 * TIMEVAL.size)
    parts = list(TIMEVAL.iter_unpack(packed))
    if any(seconds < 0 or not 0 <= microseconds < 1_000_000 for seconds, microseconds in parts):
        raise KernelError(EINVAL, f"interval timer of {parts} seconds and microseconds")
    interval, value = (seconds + microseconds / 1e6 for seconds, microseconds in parts)
    return value, interval


@CALLS.add("int", "address")
def getitimer(system: System, thread: Thread, which: int, buffer: int) -> int:
    """Tell an interval timer."""
    timer = _real_timer(system, thread.process, which)
    packed = TIMEVAL.pack(*timeval(timer.interval_seconds)) + TIMEVAL.pack(*timeval(timer.left_seconds))
    thread.process.space.write(buffer, packed)
    return 0


@CALLS.add("int", "address", "address")
def setitimer(system: System, thread: Thread, which: int, new: int, old: int) -> int:
    """Set an interval timer."""
    wanted = _itimerval(thread, new) if new else (0.0, 0.0)
    if old:
        getitimer(system, thread, which, old)
    _real_timer(system, thread.process, which).set(*wanted)
    return 0


@CALLS.add("int", "address", "address")
def timer_create(system: System, thread: Thread, clock: int, event: int, identity: int) -> int:
    """Make a timer that sends a signal."""
    process, space = thread.process, thread.process.space
    _now(thread, clock)
    if len(process.timers) >= _MOST_TIMERS:
        raise KernelError(EAGAIN, f"the process has {_MOST_TIMERS} timers")
    number = next(each for each in range(len(process.timers) + 1) if each not in process.timers)
    value, signal, kind, target = bytes(8), SIGALRM, 0, 0
    if event:
        packed = space.read(event, 64)
        value = packed[:8]
        signal, kind, target = (int.from_bytes(packed[at : at + 4], "big", signed=True) for at in (8, 12, 16))
        _check_event(system, process, signal, kind, target)
    info = SignalInfo(signal, -2, number.to_bytes(4, "big") + bytes(4) + value)  # SI_TIMER

    def fire() -> None:
        if kind == _SIGEV_NONE:
            return
        receiver = system.table.threads.get(target) if kind & _SIGEV_THREAD_ID else None
        system.delivery.send(process, info, receiver)

    process.timers[number] = _PosixTimer(clock, IntervalTimer(system, process, fire, silent=kind == _SIGEV_NONE))
    space.write(identity, number.to_bytes(4, "big"))
    return 0


def _check_event(system: System, process: Process, signal: int, kind: int, target: int) -> None:
    """Raise KernelError(EINVAL) where a timer cannot tell a process as it asks for (good_sigevent)."""
    if kind not in _SIGEV_KINDS or (kind != _SIGEV_NONE and not 1 <= signal <= SIGRTMAX):
        raise KernelError(EINVAL, f"timer_create: event of kind {kind}, signal {signal}")
    thread = system.table.threads.get(target)
    if kind == _SIGEV_THREAD_ID and (thread is None or thread.process is not process):
        raise KernelError(EINVAL, f"timer_create: thread {target} is none of the process")


def _posix_timer(thread: Thread, number: int) -> _PosixTimer:
    found = thread.process.timers.get(number)
    if not isinstance(found, _PosixTimer):
        raise KernelError(EINVAL, f"timer {number}: there is none")
    return found


@CALLS.add("int", "int", "address", "address")
def timer_settime(system: System, thread: Thread, number: int, flags: int, new: int, old: int) -> int:
    """Set a timer."""
    found = _posix_timer(thread, number)
    packed = thread.process.space.read(new, 2 * TIMESPEC.size)
    parts = list(TIMESPEC.iter_unpack(packed))
    if any(seconds < 0 or not 0 <= nanoseconds < 1_000_000_000 for seconds, nanoseconds in parts):
        raise KernelError(EINVAL, f"timer of {parts} seconds and nanoseconds")
    interval, value = (seconds + nanoseconds / 1e9 for seconds, nanoseconds in parts)
    if old:
        timer_gettime(system, thread, number, old)
    if value and flags & _TIMER_ABSTIME:
        now, nanoseconds = _now(thread, found.clock)
        value = max(1e-6, value - now - nanoseconds / 1e9)
    found.timer.set(value, interval)
    return 0


@CALLS.add("int", "address")
def timer_gettime(_system: System, thread: Thread, number: int, buffer: int) -> int:
    """Tell a timer."""
    timer = _posix_timer(thread, number).timer
    packed = TIMESPEC.pack(*timespec(timer.interval_seconds)) + TIMESPEC.pack(*timespec(timer.left_seconds))
    thread.process.space.write(buffer, packed)
    return 0


@CALLS.add("int")
def timer_getoverrun(_system: System, thread: Thread, number: int) -> int:
    """Tell how often a timer was due unheard: never more than once."""
    _posix_timer(thread, number)
    return 0


@CALLS.add("int")
def timer_delete(_system: System, thread: Thread, number: int) -> int:
    """Remove a timer."""
    _posix_timer(thread, number).timer.set(0, 0)
    del thread.process.timers[number]
    return 0
