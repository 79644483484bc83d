"""System calls on semaphores of System V."""

import struct
from array import array
from errno import E2BIG, EAGAIN, EINVAL
from sys import byteorder
from typing import Final

from dcss.errors import KernelError
from vmguest.s390x.calls.ipc_structures import (
    IPC_64,
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    find_again,
    pack_permission,
    read_permission,
)
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.times import deadline_in, is_over, read_timeout
from vmguest.s390x.ipc_objects import IPC_NOWAIT, MAY_CHANGE, MAY_READ
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.semaphores import (
    MOST_OF_A_SET,
    MOST_OPERATIONS,
    MOST_SEMAPHORES,
    MOST_SETS,
    MOST_VALUE,
    Operation,
    SemaphoreSet,
)
from vmguest.s390x.system import System

CALLS = CallGroup()
_SEMBUF: Final = struct.Struct(">Hhh")
_SEMID_DS: Final = struct.Struct(">qqQ16x")  # behind what all kinds have: times of semop and of changes; how many
_SEMINFO: Final = struct.Struct(">10i")
_GETPID, _GETVAL, _GETALL, _GETNCNT, _GETZCNT, _SETVAL, _SETALL = 11, 12, 13, 14, 15, 16, 17
_SEM_STAT, _SEM_INFO, _SEM_STAT_ANY = 18, 19, 20
_OF_ONE: Final = frozenset({_GETPID, _GETVAL, _GETNCNT, _GETZCNT})
_OF_SETS: Final = _OF_ONE | {IPC_RMID, IPC_SET, IPC_STAT, _SEM_STAT, _SEM_STAT_ANY, _GETALL, _SETVAL, _SETALL}
_UNDO_BYTES: Final = 20  # SEMUSZ, of which nothing is known but that it is told


@CALLS.add("int", "int", "flags")
def semget(system: System, thread: Thread, key: int, size: int, flags: int) -> int:
    """Find or make a set of semaphores."""
    return system.semaphores.make(thread.process.credentials, key, size, flags)


@CALLS.add("int", "address", "uint", "address")
def semtimedop(system: System, thread: Thread, number: int, address: int, count: int, timeout: int) -> int:
    """Do an operation on a set, or wait until it can be done."""
    process = thread.process
    if not count or number < 0:
        raise KernelError(EINVAL, f"semop of {count} operations on {number}")
    if count > MOST_OPERATIONS:
        raise KernelError(E2BIG, f"{count} operations at once, wanted at most {MOST_OPERATIONS}")
    packed = process.space.read(address, count * _SEMBUF.size)
    operations = [Operation._make(each) for each in _SEMBUF.iter_unpack(packed)]
    deadline = deadline_in(thread, read_timeout(thread, timeout))
    found = find_again(system.semaphores, thread, number)
    found.check(process.credentials, MAY_CHANGE if any(each.change for each in operations) else MAY_READ)
    obstacle = found.operate(process, operations)
    if obstacle is None:
        return 0
    if obstacle.flags & IPC_NOWAIT or is_over(deadline):
        raise KernelError(EAGAIN, f"semaphore {obstacle.number} of {number}: not now")
    _note_waiter(thread, found, operations)
    sets = system.semaphores
    raise WaitError(lambda: found not in sets or found.obstacle(operations) is None, deadline, restart=False)


def _note_waiter(thread: Thread, found: SemaphoreSet, operations: list[Operation]) -> None:
    found.waiters[thread] = operations

    def withdraw() -> None:
        found.waiters.pop(thread, None)

    thread.withdraw = withdraw


@CALLS.add("int", "int", "int", "ulong")
def semctl(system: System, thread: Thread, number: int, index: int, command: int, argument: int) -> int:
    """Tell and change what the semaphores of a set are, its owner and mode, or remove it."""
    command &= ~IPC_64
    space, user, semaphores = thread.process.space, thread.process.credentials, system.semaphores
    if command in {IPC_INFO, _SEM_INFO}:
        space.write(argument, _information(system, in_use=command == _SEM_INFO))
        return semaphores.highest
    if command not in _OF_SETS:
        raise KernelError(EINVAL, f"semctl {command}")
    found = semaphores.find(number)
    if command in {IPC_STAT, _SEM_STAT, _SEM_STAT_ANY}:
        if command != _SEM_STAT_ANY:
            found.check(user, MAY_READ)
        space.write(argument, pack_permission(found) + _SEMID_DS.pack(found.operated, found.changed, len(found.values)))
        return 0 if command == IPC_STAT else number
    if command in {IPC_RMID, IPC_SET}:
        found.check_owner(user)
        if command == IPC_RMID:
            semaphores.remove(number)
        else:
            found.give(*read_permission(space, argument))
        return 0
    if command in {_SETVAL, _SETALL}:
        return _set_values(thread, found, None if command == _SETALL else index, argument)
    found.check(user, MAY_READ)
    if command == _GETALL:
        space.write(argument, b"".join(value.to_bytes(2) for value in found.values))
        return 0
    found.check_index(index)
    return _of_one(found, command, index)


def _set_values(thread: Thread, found: SemaphoreSet, index: int | None, argument: int) -> int:
    """Set one semaphore, or all from an array of halfwords."""
    process = thread.process
    found.check(process.credentials, MAY_CHANGE)
    if index is None:
        packed = array("H", process.space.read(argument, 2 * len(found.values)))
        if byteorder == "little":
            packed.byteswap()
        found.set(process.pid, dict(enumerate(packed)))
        return 0
    found.check_index(index)
    value = argument >> 32  # union semun has the int first
    found.set(process.pid, {index: value - (1 << 32) if value & 1 << 31 else value})
    return 0


def _of_one(found: SemaphoreSet, command: int, index: int) -> int:
    if command == _GETVAL:
        return found.values[index]
    if command == _GETPID:
        return found.pids[index]
    obstacles = (found.obstacle(each) for each in found.waiters.values())
    waiting = [each for each in obstacles if each is not None and each.number == index]
    return sum(bool(each.change) == (command == _GETNCNT) for each in waiting)


def _information(system: System, *, in_use: bool) -> bytes:
    """Return struct seminfo: limits; with `in_use`, how many sets and semaphores there are in place of two of them."""
    sets, semaphores = _UNDO_BYTES, MOST_VALUE
    if in_use:
        sets, semaphores = len(system.semaphores), system.semaphores.semaphores
    most = MOST_SEMAPHORES
    return _SEMINFO.pack(
        *(most, MOST_SETS, most, most, MOST_OF_A_SET, MOST_OPERATIONS, MOST_OPERATIONS, sets, MOST_VALUE, semaphores)
    )
