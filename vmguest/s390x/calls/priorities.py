"""Calls on the range of real-time priorities (kernel/sched/syscalls.c)."""

from errno import EINVAL

from dcss.errors import KernelError
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_FIRST, _LAST = 1, 99
_REAL_TIME, _OTHERS = frozenset({1, 2}), frozenset({0, 3, 5, 6})  # FIFO, RR; OTHER, BATCH, IDLE, DEADLINE


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
