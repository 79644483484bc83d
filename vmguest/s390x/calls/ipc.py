"""ipc(2), by which the C library makes the calls on System V's objects on s390x."""

import struct
from collections.abc import Callable
from errno import EINVAL
from typing import Final, NamedTuple

from dcss.errors import KernelError
from vmguest.s390x.calls.message_queues import msgctl, msgget, msgrcv, msgsnd
from vmguest.s390x.calls.registry import KINDS, CallGroup
from vmguest.s390x.calls.semaphores import semctl, semget, semtimedop
from vmguest.s390x.calls.shared_segments import shmat, shmctl, shmdt, shmget
from vmguest.s390x.calls.structures import ULONG
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_KLUDGE: Final = struct.Struct(">Qq")  # struct ipc_kludge: what msgrcv has beyond five parameters


class _Given(NamedTuple):
    """The parameters behind the number of the call; s390 has no sixth one."""

    first: int
    second: int
    third: int
    pointer: int

    @property
    def second_int(self) -> int:
        """The second parameter of calls where it is an int."""
        return _int(self.second)

    @property
    def third_int(self) -> int:
        """The third parameter of calls where it is an int."""
        return _int(self.third)


def _int(value: int) -> int:
    convert = KINDS["int"]
    assert convert is not None
    return convert(value)


def _semtimedop(system: System, thread: Thread, given: _Given, timeout: int = 0) -> int | None:
    return semtimedop(system, thread, given.first, given.pointer, given.second & 0xFFFF_FFFF, timeout)


def _semctl(system: System, thread: Thread, given: _Given) -> int | None:
    if not given.pointer:
        raise KernelError(EINVAL, "semctl by ipc without a place of its parameter")
    (argument,) = ULONG.unpack(thread.process.space.read(given.pointer, ULONG.size))
    return semctl(system, thread, given.first, given.second_int, given.third_int, argument)


def _msgrcv(system: System, thread: Thread, given: _Given) -> int | None:
    if not given.pointer:
        raise KernelError(EINVAL, "msgrcv by ipc without a place of its parameters")
    buffer, kind = _KLUDGE.unpack(thread.process.space.read(given.pointer, _KLUDGE.size))
    return msgrcv(system, thread, given.first, buffer, given.second_int, kind, given.third_int)


def _shmat(system: System, thread: Thread, given: _Given) -> int | None:
    place = shmat(system, thread, given.first, given.pointer, given.second_int) or 0
    thread.process.space.write(given.third, ULONG.pack(place))
    return 0


_BY_NUMBER: Final[dict[int, Callable[[System, Thread, _Given], int | None]]] = {
    1: _semtimedop,
    2: lambda system, thread, given: semget(system, thread, given.first, given.second_int, given.third_int),
    3: _semctl,
    4: lambda system, thread, given: _semtimedop(system, thread, given, given.third),
    11: lambda system, thread, given: msgsnd(
        system, thread, given.first, given.pointer, given.second_int, given.third_int
    ),
    12: _msgrcv,
    13: lambda system, thread, given: msgget(system, thread, given.first, given.second_int),
    14: lambda system, thread, given: msgctl(system, thread, given.first, given.second_int, given.pointer),
    21: _shmat,
    22: lambda system, thread, given: shmdt(system, thread, given.pointer),
    23: lambda system, thread, given: shmget(system, thread, given.first, given.second, given.third_int),
    24: lambda system, thread, given: shmctl(system, thread, given.first, given.second_int, given.pointer),
}


@CALLS.add("uint", "int", "ulong", "ulong", "address")
def ipc(system: System, thread: Thread, call: int, first: int, second: int, third: int, pointer: int) -> int:
    """Make a call of System V's by its number among them (linux/ipc.h)."""
    function = _BY_NUMBER.get(call)
    if function is None:
        raise KernelError(EINVAL, f"ipc {call}")
    return function(system, thread, _Given(first, second, third, pointer)) or 0
