"""System calls on epoll, eventfd, timerfd, signalfd and inotify."""

import struct
from errno import EINVAL, ENOTDIR

from dcss.errors import KernelError
from vmguest.credentials import MAY_READ
from vmguest.fs.epoll import EPOLL_CTL_DEL, EPOLL_EVENT, Epoll, new_epoll
from vmguest.fs.eventfd import new_eventfd
from vmguest.fs.inotify import Inotify, new_inotify
from vmguest.fs.open import O_CLOEXEC, O_NONBLOCK, FileDescription
from vmguest.fs.permission import check
from vmguest.fs.timerfd import TimerFile, TimerSetting, new_timerfd
from vmguest.s390x.calls.paths import AT_FDCWD, AT_SYMLINK_NOFOLLOW, resolve
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.signal_calls import set_mask
from vmguest.s390x.calls.structures import ULONG
from vmguest.s390x.calls.times import deadline_in, is_over, read_timeout
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.signal_file import SignalFile, new_signal_file
from vmguest.s390x.signals import blockable
from vmguest.s390x.system import System

CALLS = CallGroup()
_ITIMERSPEC = struct.Struct(">4q")  # interval and value, each in seconds and nanoseconds
_NANOSECONDS = 1_000_000_000
_MOST_EVENTS = 1 << 20
_IN_ONLYDIR, _IN_DONT_FOLLOW = 0x0100_0000, 0x0200_0000


def _install(thread: Thread, opened: FileDescription, flags: int) -> int:
    return thread.process.files.install(opened, close_on_exec=bool(flags & O_CLOEXEC))


# -- epoll -------------------------------------------------------------------------------------------------------------


@CALLS.add("open")
def epoll_create1(system: System, thread: Thread, flags: int) -> int:
    """Make a set of files that can be waited for."""
    if flags & ~O_CLOEXEC:
        raise KernelError(EINVAL, f"epoll_create1 with flags {flags:#o}")
    return _install(thread, new_epoll(system.vfs), flags)


@CALLS.add("int")
def epoll_create(system: System, thread: Thread, size: int) -> int:
    """Make a set of files that can be waited for."""
    if size <= 0:
        raise KernelError(EINVAL, f"epoll_create of {size} files")
    return _install(thread, new_epoll(system.vfs), 0)


@CALLS.add("fd", "int", "fd", "address")
def epoll_ctl(_system: System, thread: Thread, number: int, operation: int, other: int, event: int) -> int:
    """Add a file to a set, change what is waited for, or take it out."""
    epoll, opened = _epoll(thread, number), thread.process.files.get(other)
    events = data = 0
    if operation != EPOLL_CTL_DEL:
        events, data = EPOLL_EVENT.unpack(thread.process.space.read(event, EPOLL_EVENT.size))
    epoll.control(operation, other, opened, events, data)
    return 0


@CALLS.add("fd", "address", "int", "int")
def epoll_wait(_system: System, thread: Thread, number: int, buffer: int, limit: int, milliseconds: int) -> int:
    """Wait until a file of a set is ready."""
    return _wait(thread, number, buffer, limit, _seconds(milliseconds))


@CALLS.add("fd", "address", "int", "int", "address", "size")
def epoll_pwait(
    _system: System, thread: Thread, number: int, buffer: int, limit: int, milliseconds: int, mask: int, _size: int
) -> int:
    """Wait until a file of a set is ready, with other signals blocked."""
    set_mask(thread, mask)
    return _wait(thread, number, buffer, limit, _seconds(milliseconds))


@CALLS.add("fd", "address", "int", "address", "address", "size")
def epoll_pwait2(
    _system: System, thread: Thread, number: int, buffer: int, limit: int, timeout: int, mask: int, _size: int
) -> int:
    """Wait until a file of a set is ready, with other signals blocked."""
    seconds = read_timeout(thread, timeout)
    set_mask(thread, mask)
    return _wait(thread, number, buffer, limit, seconds)


def _epoll(thread: Thread, number: int) -> Epoll:
    file = thread.process.files.get(number).file
    if not isinstance(file, Epoll):
        raise KernelError(EINVAL, f"descriptor {number}: no epoll")
    return file


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000


def _wait(thread: Thread, number: int, buffer: int, limit: int, seconds: float | None) -> int:
    epoll = _epoll(thread, number)
    if not 0 < limit <= _MOST_EVENTS:
        raise KernelError(EINVAL, f"epoll_wait for {limit} events")
    deadline = deadline_in(thread, seconds)
    found = epoll.ready(limit)
    if not found and not is_over(deadline):
        raise WaitError(lambda: bool(epoll.poll()), deadline, restart=False, alarm=epoll.alarm_seconds)
    thread.process.space.write(buffer, b"".join(EPOLL_EVENT.pack(events, data) for events, data in found))
    return len(found)


# -- eventfd and timerfd -----------------------------------------------------------------------------------------------


@CALLS.add("uint", "open")
def eventfd2(system: System, thread: Thread, count: int, flags: int) -> int:
    """Make a counter that can be waited for."""
    return _install(thread, new_eventfd(system.vfs, count, flags & ~O_CLOEXEC), flags)


@CALLS.add("uint")
def eventfd(system: System, thread: Thread, count: int) -> int:
    """Make a counter that can be waited for."""
    return _install(thread, new_eventfd(system.vfs, count), 0)


@CALLS.add("int", "open")
def timerfd_create(system: System, thread: Thread, clock: int, flags: int) -> int:
    """Make a timer that can be waited for."""
    return _install(thread, new_timerfd(system.vfs, clock, flags & ~O_CLOEXEC), flags)


@CALLS.add("fd", "flags", "address", "address")
def timerfd_settime(_system: System, thread: Thread, number: int, flags: int, new: int, old: int) -> int:
    """Start or stop a timer."""
    timer, space = _timer(thread, number), thread.process.space
    numbers = _ITIMERSPEC.unpack(space.read(new, _ITIMERSPEC.size))
    if min(numbers) < 0 or max(numbers[1], numbers[3]) >= _NANOSECONDS:
        raise KernelError(EINVAL, f"timerfd_settime of {numbers}")
    interval, interval_ns, value, value_ns = numbers
    setting = TimerSetting(interval * _NANOSECONDS + interval_ns, value * _NANOSECONDS + value_ns)
    before = timer.set(setting, flags)
    if old:
        space.write(old, _pack(before))
    return 0


@CALLS.add("fd", "address")
def timerfd_gettime(_system: System, thread: Thread, number: int, buffer: int) -> int:
    """Tell when a timer ends."""
    thread.process.space.write(buffer, _pack(_timer(thread, number).get()))
    return 0


# -- signalfd ----------------------------------------------------------------------------------------------------------


@CALLS.add("fd", "address", "size", "open")
def signalfd4(system: System, thread: Thread, number: int, mask: int, size_bytes: int, flags: int) -> int:
    """Make a file from which pending signals are read, or change which ones."""
    if size_bytes != ULONG.size:
        raise KernelError(EINVAL, f"a set of {size_bytes} bytes")
    (wanted,) = ULONG.unpack(thread.process.space.read(mask, ULONG.size))
    if number == -1:
        opened = new_signal_file(system.vfs, wanted, flags & ~O_CLOEXEC, lambda: system.scheduler.current)
        return _install(thread, opened, flags)
    file = thread.process.files.get(number).file
    if not isinstance(file, SignalFile) or flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise KernelError(EINVAL, f"descriptor {number}: no signalfd, or flags {flags:#o}")
    file.mask = blockable(wanted)
    return number


@CALLS.add("fd", "address", "size")
def signalfd(system: System, thread: Thread, number: int, mask: int, size_bytes: int) -> int:
    """Make a file from which pending signals are read, or change which ones."""
    return signalfd4(system, thread, number, mask, size_bytes, 0) or 0


# -- inotify -----------------------------------------------------------------------------------------------------------


@CALLS.add("open")
def inotify_init1(system: System, thread: Thread, flags: int) -> int:
    """Make a file from which is read what is done to others."""
    return _install(thread, new_inotify(system.vfs, flags & ~O_CLOEXEC), flags)


@CALLS.add()
def inotify_init(system: System, thread: Thread) -> int:
    """Make a file from which is read what is done to others."""
    return inotify_init1(system, thread, 0) or 0


@CALLS.add("fd", "path", "uint")
def inotify_add_watch(system: System, thread: Thread, number: int, path: int, mask: int) -> int:
    """Watch a file or directory."""
    inotify, process = _inotify(thread, number), thread.process
    flags = AT_SYMLINK_NOFOLLOW if mask & _IN_DONT_FOLLOW else 0
    place = resolve(system.vfs, process, AT_FDCWD, process.space.string(path), flags)
    if mask & _IN_ONLYDIR and not place.inode.is_dir:
        raise KernelError(ENOTDIR, "inotify_add_watch: no directory")
    check(place, system.vfs.user, MAY_READ)
    return inotify.watch(place, mask)


@CALLS.add("fd", "int")
def inotify_rm_watch(_system: System, thread: Thread, number: int, watch: int) -> int:
    """Watch a file no longer."""
    _inotify(thread, number).unwatch(watch)
    return 0


def _inotify(thread: Thread, number: int) -> Inotify:
    file = thread.process.files.get(number).file
    if not isinstance(file, Inotify):
        raise KernelError(EINVAL, f"descriptor {number}: no inotify")
    return file


def _timer(thread: Thread, number: int) -> TimerFile:
    file = thread.process.files.get(number).file
    if not isinstance(file, TimerFile):
        raise KernelError(EINVAL, f"descriptor {number}: no timer")
    return file


def _pack(setting: TimerSetting) -> bytes:
    return _ITIMERSPEC.pack(*divmod(setting.interval_ns, _NANOSECONDS), *divmod(setting.value_ns, _NANOSECONDS))
