"""Calls on scheduling policies and priorities: they are kept and told, and all threads take turns (kernel/sched)."""

import struct
from errno import E2BIG, EINVAL, EPERM, ESRCH
from typing import Final

from dcss.errors import KernelError
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import INT, TIMESPEC
from vmguest.s390x.process import RESET_ON_FORK, Scheduling, Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_FIRST, _LAST = 1, 99
_ROUND_ROBIN: Final = 2
_REAL_TIME, _OTHERS = frozenset({1, _ROUND_ROBIN}), frozenset({0, 3, 5, 6})  # FIFO; OTHER, BATCH, IDLE, DEADLINE
_SETTABLE: Final = _REAL_TIME | {0, 3, 5}
_RESET_FLAG: Final = 1  # of struct sched_attr
_TURN_NANOSECONDS: Final = 100_000_000  # RR_TIMESLICE
_SCHED_ATTR: Final = struct.Struct(">IIQiIQQQII")  # size, policy, flags, nice, priority, deadlines, utilization
_FIRST_SIZE_BYTES: Final = 48  # of struct sched_attr as it was first
_PAGE_BYTES: Final = 4096
_IO_PRIORITY_OF_PROCESS, _IO_PRIORITY_OF_GROUP, _IO_PRIORITY_OF_USER = 1, 2, 3
_IO_CLASS_SHIFT: Final = 13
_IO_NONE, _IO_REAL_TIME, _IO_IDLE = 0, 1, 3


@CALLS.add("int")
def sched_get_priority_max(_system: System, _thread: Thread, policy: int) -> int:
    """Tell the highest priority of a scheduling policy."""
    return _bound(policy, _LAST)


@CALLS.add("int")
def sched_get_priority_min(_system: System, _thread: Thread, policy: int) -> int:
    """Tell the lowest priority of a scheduling policy."""
    return _bound(policy, _FIRST)


def _bound(policy: int, real_time: int) -> int:
    if policy in _REAL_TIME:
        return real_time
    if policy in _OTHERS:
        return 0
    raise KernelError(EINVAL, f"scheduling policy {policy}")


def _thread(system: System, thread: Thread, tid: int) -> Thread:
    """Return a thread by its id, the caller for 0. Raises KernelError: EINVAL, ESRCH."""
    if tid < 0:
        raise KernelError(EINVAL, f"thread {tid}")
    found = system.table.threads.get(tid) if tid else thread
    if found is None:
        raise KernelError(ESRCH, f"thread {tid}: there is none")
    return found


def _change(thread: Thread, found: Thread, policy: int, priority: int) -> None:
    """Give a thread a policy and a priority. Raises KernelError: EINVAL, EPERM."""
    resets, policy = bool(policy & RESET_ON_FORK), policy & ~RESET_ON_FORK
    is_real_time = policy in _REAL_TIME
    if policy not in _SETTABLE or not (_FIRST <= priority <= _LAST if is_real_time else priority == 0):
        raise KernelError(EINVAL, f"scheduling policy {policy} with priority {priority}")
    if not thread.process.credentials.privileged and (
        is_real_time or thread.process.credentials.uid != found.process.credentials.uid
    ):
        raise KernelError(EPERM, f"scheduling policy {policy} of thread {found.tid}")
    found.scheduling = Scheduling(policy, priority, resets)


def _read_priority(thread: Thread, buffer: int) -> int:
    if not buffer:
        raise KernelError(EINVAL, "scheduling without parameters")
    priority: int = INT.unpack(thread.process.space.read(buffer, INT.size))[0]
    return priority


@CALLS.add("pid", "int", "address")
def sched_setscheduler(system: System, thread: Thread, tid: int, policy: int, buffer: int) -> int:
    """Give a thread a policy and a priority."""
    if policy < 0:
        raise KernelError(EINVAL, f"scheduling policy {policy}")
    _change(thread, _thread(system, thread, tid), policy, _read_priority(thread, buffer))
    return 0


@CALLS.add("pid", "address")
def sched_setparam(system: System, thread: Thread, tid: int, buffer: int) -> int:
    """Give a thread another priority."""
    found = _thread(system, thread, tid)
    _change(thread, found, found.scheduling.told_policy, _read_priority(thread, buffer))
    return 0


@CALLS.add("pid")
def sched_getscheduler(system: System, thread: Thread, tid: int) -> int:
    """Tell the policy of a thread."""
    return _thread(system, thread, tid).scheduling.told_policy


@CALLS.add("pid", "address")
def sched_getparam(system: System, thread: Thread, tid: int, buffer: int) -> int:
    """Tell the priority of a thread."""
    found = _thread(system, thread, tid)
    if not buffer:
        raise KernelError(EINVAL, "scheduling without parameters")
    thread.process.space.write(buffer, INT.pack(found.scheduling.priority))
    return 0


@CALLS.add("pid", "address")
def sched_rr_get_interval(system: System, thread: Thread, tid: int, buffer: int) -> int:
    """Tell how long the turns of a thread are, where its policy says so."""
    nanoseconds = _TURN_NANOSECONDS if _thread(system, thread, tid).scheduling.policy == _ROUND_ROBIN else 0
    thread.process.space.write(buffer, TIMESPEC.pack(0, nanoseconds))
    return 0


@CALLS.add("pid", "address", "uint", "uint")
def sched_getattr(system: System, thread: Thread, tid: int, buffer: int, size_bytes: int, flags: int) -> int:
    """Tell policy, priority and nice value of a thread."""
    if not buffer or not _FIRST_SIZE_BYTES <= size_bytes <= _PAGE_BYTES or flags:
        raise KernelError(EINVAL, f"sched_getattr into {size_bytes} bytes with flags {flags:#x}")
    found, given_bytes = _thread(system, thread, tid), min(size_bytes, _SCHED_ATTR.size)
    policy, priority, resets = found.scheduling
    packed = _SCHED_ATTR.pack(
        *(given_bytes, policy, _RESET_FLAG if resets else 0, found.process.nice, priority, 0, 0, 0, 0, 1024)
    )
    thread.process.space.write(buffer, packed[:given_bytes])
    return 0


@CALLS.add("pid", "address", "uint")
def sched_setattr(system: System, thread: Thread, tid: int, buffer: int, flags: int) -> int:
    """Give a thread a policy, a priority and a nice value."""
    if not buffer or flags:
        raise KernelError(EINVAL, f"sched_setattr with flags {flags:#x}")
    space = thread.process.space
    size_bytes = int.from_bytes(space.read(buffer, 4)) or _FIRST_SIZE_BYTES
    if not _FIRST_SIZE_BYTES <= size_bytes <= _PAGE_BYTES:
        raise KernelError(E2BIG, f"struct sched_attr of {size_bytes} bytes")
    packed = space.read(buffer, min(size_bytes, _SCHED_ATTR.size)).ljust(_SCHED_ATTR.size, b"\0")
    _, policy, more, nice, priority, *_ = _SCHED_ATTR.unpack(packed)
    if more & ~_RESET_FLAG:
        raise KernelError(EINVAL, f"sched_setattr with flags {more:#x} in its structure")
    found = _thread(system, thread, tid)
    _change(thread, found, policy | (RESET_ON_FORK if more else 0), priority)
    if policy not in _REAL_TIME:
        found.process.nice = max(-20, min(19, nice))
    return 0


# -- of input and output -----------------------------------------------------------------------------------------------


@CALLS.add("int", "int", "int")
def ioprio_set(system: System, thread: Thread, which: int, who: int, priority: int) -> int:
    """Give a thread a class and a priority for its input and output, which changes nothing else."""
    kind, level = priority >> _IO_CLASS_SHIFT, priority & ((1 << _IO_CLASS_SHIFT) - 1)
    if not _IO_NONE <= kind <= _IO_IDLE or level > 7 or (kind == _IO_NONE and level):
        raise KernelError(EINVAL, f"priority {level} of class {kind}")
    if kind == _IO_REAL_TIME and not thread.process.credentials.privileged:
        raise KernelError(EPERM, "only root gives the class for real time")
    for found in _chosen(system, thread, which, who):
        found.io_priority = priority
    return 0


@CALLS.add("int", "int")
def ioprio_get(system: System, thread: Thread, which: int, who: int) -> int:
    """Tell the class and the priority of a thread, or the best of several."""
    found = [each.io_priority for each in _chosen(system, thread, which, who)]
    return min(found, key=lambda priority: (not priority, priority))


def _chosen(system: System, thread: Thread, which: int, who: int) -> list[Thread]:
    """Return the threads that are meant. Raises KernelError: EINVAL, ESRCH."""
    me, threads = thread.process, system.table.threads.values()
    if which == _IO_PRIORITY_OF_PROCESS:
        return [_thread(system, thread, who)]
    if which == _IO_PRIORITY_OF_GROUP:
        found = [each for each in threads if each.process.group == (who or me.group)]
    elif which == _IO_PRIORITY_OF_USER:
        found = [each for each in threads if each.process.credentials.uid == (who or me.credentials.uid)]
    else:
        raise KernelError(EINVAL, f"priority of kind {which}")
    if not found:
        raise KernelError(ESRCH, f"priority of {who}: nobody is meant")
    return found
