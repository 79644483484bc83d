"""Semaphores and messages of System V: who may use them, what becomes of them at a program's end, and their limits."""

from errno import EACCES, EINVAL, ENOMEM, ENOSPC, EPERM
from struct import pack, unpack, unpack_from

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.credentials import Credentials
from vmguest.s390x.message_queues import MessageQueues
from vmguest.s390x.semaphores import MOST_SEMAPHORES

IPC_PRIVATE, IPC_CREAT, IPC_NOWAIT, SEM_UNDO = 0, 0o1000, 0o4000, 0x1000
IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO = 0, 1, 2, 3
GETPID, GETVAL, SETVAL, SEM_STAT, SEM_INFO, MSG_INFO, MSG_STAT = 11, 12, 16, 18, 19, 12, 11
SEMCTL, MSGRCV = 3, 12
ROOT, OTHER = Credentials(), Credentials(uid=1000, gid=1000)
MODE_AT, BYTES_AT, SENDER_AT = 20, 88, 96


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


def made(result: int | None) -> int:
    assert result is not None
    assert result >= 0
    return result


def semaphores(caller: Caller, mode: int = 0o600) -> int:
    return made(caller.call("semget", IPC_PRIVATE, 2, IPC_CREAT | mode))


def queue(caller: Caller, mode: int = 0o600) -> int:
    return made(caller.call("msgget", IPC_PRIVATE, IPC_CREAT | mode))


def add(number: int, change: int, flags: int = 0) -> bytes:
    """A struct sembuf."""
    return pack(">Hhh", number, change, flags)


def message(kind: int, text: bytes) -> bytes:
    return pack(">q", kind) + text


@pytest.mark.parametrize(("name", "size_bytes"), [("sem", 88), ("msg", 120)])
def test_owner_and_mode_are_told_and_set(caller: Caller, name: str, size_bytes: int) -> None:
    number = semaphores(caller, 0o640) if name == "sem" else queue(caller, 0o640)
    buffer = caller.put(size_bytes)

    def control(command: int) -> int | None:
        return caller.call("semctl", number, 0, command, buffer) if name == "sem" else (
            caller.call("msgctl", number, command, buffer)
        )  # fmt: skip

    assert control(IPC_STAT) == 0
    key, uid, gid, creator, group, mode = unpack_from(">i4II", caller.get(buffer, size_bytes))
    assert (key, uid, gid, creator, group, mode) == (IPC_PRIVATE, 0, 0, 0, 0, 0o640)
    caller.process.space.write(buffer, pack(">i4II", 0, 1000, 100, 5, 5, 0o7604))
    assert control(IPC_SET) == 0
    assert control(IPC_STAT) == 0
    assert unpack_from(">i4II", caller.get(buffer, size_bytes)) == (0, 1000, 100, 0, 0, 0o604)
    caller.process.credentials = OTHER
    assert control(IPC_RMID) == 0
    assert control(IPC_RMID) == -EINVAL


def test_modes_keep_others_out(caller: Caller) -> None:
    readable, readable_queue = semaphores(caller, 0o604), queue(caller, 0o604)
    made(caller.call("msgsnd", readable_queue, message(1, b"x"), 1, 0))
    caller.process.credentials = OTHER
    buffer = caller.put(120)
    assert caller.call("semtimedop", readable, add(0, 0), 1, 0) == 0
    assert caller.call("semtimedop", readable, add(0, 1), 1, 0) == -EACCES
    assert caller.call("semctl", readable, 0, GETVAL, 0) == 0
    assert caller.call("semctl", readable, 0, SETVAL, 1 << 32) == -EACCES
    assert caller.call("semctl", readable, 0, IPC_RMID, 0) == -EPERM
    assert caller.call("msgsnd", readable_queue, message(1, b"x"), 1, 0) == -EACCES
    assert caller.call("msgrcv", readable_queue, buffer, 9, 0, 0) == 1
    assert caller.call("msgctl", readable_queue, IPC_RMID, 0) == -EPERM


def test_who_may_have_larger_queues(caller: Caller) -> None:
    number, buffer = queue(caller), caller.put(120)
    for user, size_bytes, result in ((ROOT, 100_000, 0), (OTHER, 16_384, 0), (OTHER, 16_385, -EPERM)):
        caller.process.credentials = user
        caller.process.space.write(buffer, pack(">i4II", 0, 1000, 1000, 0, 0, 0o600))
        caller.process.space.write(buffer + BYTES_AT, pack(">Q", size_bytes))
        assert caller.call("msgctl", number, IPC_SET, buffer) == result
        caller.process.credentials = ROOT
        assert caller.call("msgctl", number, IPC_STAT, buffer) == 0
        assert unpack(">Q", caller.get(buffer + BYTES_AT, 8)) == (size_bytes if not result else 16_384,)


def test_the_last_ones_are_told(caller: Caller) -> None:
    number, buffer = queue(caller), caller.put(120)
    caller.call("msgsnd", number, message(1, b"x"), 1, 0)
    caller.call("msgctl", number, IPC_STAT, buffer)
    assert unpack(">ii", caller.get(buffer + SENDER_AT, 8)) == (caller.process.pid, 0)
    assert caller.call("msgrcv", number, buffer, 9, 0, 0) == 1
    caller.call("msgctl", number, IPC_STAT, buffer)
    assert unpack(">ii", caller.get(buffer + SENDER_AT, 8)) == (caller.process.pid,) * 2


@pytest.mark.parametrize("end", ["exit", "execve"])
def test_what_is_to_be_undone_is_undone_at_the_end_only(guest: Guest390, end: str) -> None:
    caller, other = Caller(guest), Caller(guest)
    number = semaphores(caller)
    assert caller.call("semtimedop", number, add(0, 5, SEM_UNDO), 1, 0) == 0
    assert caller.call("semtimedop", number, add(0, 2), 1, 0) == 0
    if end == "exit":
        guest.programs.end(caller.process)
    else:
        caller.call("execve", b"/bin/pause\0", 0, 0)
    assert other.call("semctl", number, 0, GETVAL, 0) == (2 if end == "exit" else 7)
    assert other.call("semctl", number, 0, GETPID, 0) == caller.process.pid


def test_a_set_that_was_removed_is_not_undone(caller: Caller) -> None:
    number = semaphores(caller)
    assert caller.call("semtimedop", number, add(0, 5, SEM_UNDO), 1, 0) == 0
    assert caller.call("semctl", number, 0, IPC_RMID, 0) == 0
    caller.guest.programs.end(caller.process)


def test_limits_and_use_are_told(caller: Caller) -> None:
    buffer = caller.put(40)
    numbers = [semaphores(caller), semaphores(caller)]
    assert caller.call("semctl", 0, 0, IPC_INFO, buffer) == max(numbers)
    assert unpack(">10i", caller.get(buffer, 40))[1:9:3] == (32_000, 32_000, 20)
    assert caller.call("semctl", 0, 0, SEM_INFO, buffer) == max(numbers)
    assert unpack(">10i", caller.get(buffer, 40))[7::2] == (2, 4)
    assert caller.call("semctl", numbers[1], 0, SEM_STAT, caller.put(88)) == numbers[1]
    first = queue(caller)
    caller.call("msgsnd", first, message(1, b"four"), 4, 0)
    assert caller.call("msgctl", 0, IPC_INFO, buffer) == first
    assert unpack(">7iH", caller.get(buffer, 30)) == (512_000, 16_384, 8192, 16_384, 32_000, 16, 16_384, 0xFFFF)
    assert caller.call("msgctl", 0, MSG_INFO, buffer) == first
    assert unpack(">7iH", caller.get(buffer, 30))[:2] == (1, 1)
    assert caller.call("msgctl", first, MSG_STAT, caller.put(120)) == first


def test_there_are_so_many_semaphores(caller: Caller) -> None:
    for _ in range(MOST_SEMAPHORES // 32_000):
        made(caller.call("semget", IPC_PRIVATE, 32_000, 0o600))
    assert caller.call("semget", IPC_PRIVATE, 32_000, 0o600) == -ENOSPC
    assert caller.call("semget", IPC_PRIVATE, 32_001, 0o600) == -EINVAL


def test_messages_have_a_part_of_storage(caller: Caller) -> None:
    caller.guest.system.queues = MessageQueues(32 * 20_000)
    first, second = queue(caller), queue(caller)
    text = message(1, bytes(8000))
    assert [caller.call("msgsnd", each, text, 8000, IPC_NOWAIT) for each in (first, second)] == [0, 0]
    assert caller.call("msgsnd", second, text, 8000, IPC_NOWAIT) == -ENOMEM
    assert caller.call("msgrcv", first, caller.put(8008), 8000, 0, 0) == 8000
    assert caller.call("msgsnd", second, text, 8000, IPC_NOWAIT) == 0


def test_a_message_is_copied(caller: Caller) -> None:
    number, buffer, copy = queue(caller), caller.put(64), 0o40000
    for text in (b"one", b"two"):
        caller.call("msgsnd", number, message(1, text), 3, 0)
    assert caller.call("msgrcv", number, buffer, 3, 1, copy | IPC_NOWAIT) == 3
    assert caller.get(buffer, 11) == message(1, b"two")
    assert caller.call("msgrcv", number, buffer, 3, 1, copy) == -EINVAL
    assert caller.call("msgrcv", number, buffer, 3, 0, 0) == 3
    assert caller.get(buffer, 11) == message(1, b"one")


def test_parameters_in_memory_have_to_be_there(caller: Caller) -> None:
    assert caller.call("ipc", SEMCTL, semaphores(caller), 0, GETVAL, 0) == -EINVAL
    assert caller.call("ipc", MSGRCV, queue(caller), 1, 0, 0) == -EINVAL
