"""A timer that can be waited for (fs/timerfd.c)."""

import time
from collections.abc import Callable
from errno import EAGAIN, EINVAL
from typing import Final, NamedTuple, NoReturn

from dcss.errors import KernelError
from vmguest.fs.anonymous import ANON_INODEFS, anonymous_dentry
from vmguest.fs.file import StreamFile
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_NONBLOCK, O_RDWR, FileDescription
from vmguest.fs.poll import READABLE

TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
_CLOCKS: Final[dict[int, Callable[[], int]]] = {
    0: time.time_ns,  # CLOCK_REALTIME
    1: time.monotonic_ns,  # CLOCK_MONOTONIC
    7: time.monotonic_ns,  # CLOCK_BOOTTIME: a guest is never suspended
    8: time.time_ns,  # CLOCK_REALTIME_ALARM
    9: time.monotonic_ns,  # CLOCK_BOOTTIME_ALARM
}
_COUNT_BYTES: Final = 8


class TimerSetting(NamedTuple):
    """When a timer ends, and how long after that each further time (struct itimerspec); 0 is never."""

    interval_ns: int = 0
    value_ns: int = 0


class TimerFile(StreamFile):
    """A timer; a read tells how often it has ended since the last read."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._interval_ns = 0
        self._due_ns: int | None = None

    def set(self, setting: TimerSetting, flags: int = 0) -> TimerSetting:
        """Start or stop it; return what `get` would have said before. Raises KernelError(EINVAL) for other flags."""
        if flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) or min(setting) < 0:
            raise KernelError(EINVAL, f"timerfd_settime of {setting} with flags {flags:#x}")
        before = self.get()
        self._interval_ns = setting.interval_ns
        begin_ns = 0 if flags & TFD_TIMER_ABSTIME else self._clock()
        self._due_ns = begin_ns + setting.value_ns if setting.value_ns else None
        return before

    def get(self) -> TimerSetting:
        """Return the interval, and in how many nanoseconds it ends next."""
        if self._due_ns is None:
            return TimerSetting(self._interval_ns)
        left_ns = self._due_ns - self._clock()
        if left_ns <= 0:
            left_ns = left_ns % self._interval_ns or self._interval_ns if self._interval_ns else 0
        return TimerSetting(self._interval_ns, left_ns)

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Tell how often it has ended. Raises KernelError: EINVAL the buffer is too small, EAGAIN it has not."""
        if len(buffer) < _COUNT_BYTES:
            raise KernelError(EINVAL, f"read of {len(buffer)} bytes from a timerfd: wanted {_COUNT_BYTES}")
        count = self._ended()
        if not count:
            raise KernelError(EAGAIN, "the timer has not ended")
        assert self._due_ns is not None
        self._due_ns = self._due_ns + count * self._interval_ns if self._interval_ns else None
        buffer[:_COUNT_BYTES] = count.to_bytes(_COUNT_BYTES)
        return _COUNT_BYTES

    def write(self, position: int, data: bytes | memoryview) -> NoReturn:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"write of {len(data)} bytes at {position}: a timer is set by timerfd_settime")

    def poll(self) -> int:
        """Return whether it has ended."""
        return READABLE if self._ended() else 0

    def activity(self) -> object:
        """Return how often it has ended, and when it does next."""
        return self._ended(), self._due_ns

    def alarm_seconds(self) -> float | None:
        """Return in how many seconds it ends."""
        return None if self._due_ns is None else max(0, self._due_ns - self._clock()) / 1e9

    def close(self) -> None:
        """Nothing is held."""

    def _ended(self) -> int:
        if self._due_ns is None or (late_ns := self._clock() - self._due_ns) < 0:
            return 0
        return 1 + (late_ns // self._interval_ns if self._interval_ns else 0)


def new_timerfd(vfs: Vfs, clock: int, flags: int = 0) -> FileDescription:
    """Return a timer by a clock's number, not started. Raises KernelError(EINVAL): no such clock, other flags."""
    if clock not in _CLOCKS or flags & ~O_NONBLOCK:
        raise KernelError(EINVAL, f"timerfd by clock {clock} with flags {flags:#o}")
    file = TimerFile(_CLOCKS[clock])
    dentry = anonymous_dentry(vfs, ANON_INODEFS, 0o600, "anon_inode:[timerfd]")
    return FileDescription(vfs, dentry, file, O_RDWR | flags, target=file, device=file)
