"""Real-time policies are root's; what was set is told, and children have it unless it is reset for them."""

from errno import EINVAL, EPERM
from struct import pack, unpack

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.credentials import Credentials

OTHER, FIFO, ROUND_ROBIN, BATCH, RESET_ON_FORK = 0, 1, 2, 3, 0x4000_0000


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


@pytest.mark.parametrize(("policy", "nanoseconds"), [(FIFO, 0), (ROUND_ROBIN, 100_000_000)])
def test_real_time(caller: Caller, policy: int, nanoseconds: int) -> None:
    buffer = caller.put(16)
    assert caller.call("sched_setscheduler", 0, policy, pack(">i", 7)) == 0
    assert caller.call("sched_getscheduler", caller.process.pid) == policy
    assert caller.call("sched_getparam", 0, buffer) == 0
    assert caller.get(buffer, 4) == pack(">i", 7)
    assert caller.call("sched_setparam", 0, pack(">i", 99)) == 0
    assert caller.call("sched_setparam", 0, pack(">i", 100)) == -EINVAL
    assert caller.call("sched_rr_get_interval", 0, buffer) == 0
    assert unpack(">qq", caller.get(buffer, 16)) == (0, nanoseconds)


def test_users_have_the_others(caller: Caller) -> None:
    caller.process.credentials = Credentials(uid=1000, gid=1000)
    assert caller.call("sched_setscheduler", 0, FIFO, pack(">i", 7)) == -EPERM
    assert caller.call("sched_setscheduler", 0, BATCH, pack(">i", 0)) == 0
    assert caller.call("ioprio_set", 1, 0, 1 << 13) == -EPERM


@pytest.mark.parametrize(("reset", "childs"), [(0, FIFO), (RESET_ON_FORK, OTHER)])
def test_children(caller: Caller, reset: int, childs: int) -> None:
    assert caller.call("sched_setscheduler", 0, FIFO | reset, pack(">i", 7)) == 0
    assert caller.call("sched_getscheduler", 0) == FIFO | reset
    child = caller.call("fork")
    assert child is not None
    assert caller.call("sched_getscheduler", child) == childs


def test_real_time_signals_of_a_value_are_limited(caller: Caller) -> None:
    caller.thread.blocked = (1 << 64) - 1
    info = pack(">iii", 40, 0, -1).ljust(128, b"\0")
    results = [caller.call("rt_sigqueueinfo", caller.process.pid, 40, info) for _ in range(1025)]
    assert results == [0] * 1024 + [-11]
