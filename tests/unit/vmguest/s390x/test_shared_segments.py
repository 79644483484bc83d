"""Shared memory of System V: its storage goes with the last mapping of what was removed; modes keep others out."""

from errno import EACCES, EINVAL, EPERM
from struct import unpack_from

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from dcss.abi.page import PAGE_SIZE
from vmguest.credentials import Credentials

IPC_PRIVATE, IPC_CREAT, IPC_RMID, IPC_STAT = 0, 0o1000, 0, 2
SHM_RDONLY, SHM_DEST = 0o10000, 0o1000
SHMGET = 23
PAGES = 10


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


def made(caller: Caller, mode: int = 0o600) -> int:
    number = caller.call("ipc", SHMGET, IPC_PRIVATE, PAGES * PAGE_SIZE, IPC_CREAT | mode, 0)
    assert number is not None
    assert number >= 0
    return number


@pytest.mark.parametrize("end", ["shmdt", "exit", "execve"])
def test_what_was_removed_goes_with_its_last_mapping(caller: Caller, end: str) -> None:
    number = made(caller)
    memory = caller.guest.system.segments.find(number).memory
    address = caller.call("shmat", number, 0, 0)
    assert address
    caller.process.space.write(address, b"x" * PAGES * PAGE_SIZE)
    assert caller.call("shmctl", number, IPC_RMID, 0) == 0
    buffer = caller.put(112)
    assert caller.call("shmctl", number, IPC_STAT, buffer) == 0
    key, mode = unpack_from(">i16xI", caller.get(buffer, 24))
    assert (key, mode) == (0, 0o600 | SHM_DEST)
    assert (memory.holders, memory._frames.pages) == (1, PAGES)
    if end == "shmdt":
        assert caller.call("shmdt", address) == 0
        assert caller.call("shmat", number, 0, 0) == -EINVAL
    elif end == "exit":
        caller.guest.programs.end(caller.process)
    else:
        caller.call("execve", b"/bin/pause\0", 0, 0)
    assert (memory.holders, memory._frames.pages) == (0, 0)


def test_modes_keep_others_out(caller: Caller) -> None:
    readable, private = made(caller, 0o604), made(caller)
    caller.process.credentials = Credentials(uid=1000, gid=1000)
    assert caller.call("shmat", private, 0, SHM_RDONLY) == -EACCES
    assert caller.call("shmat", readable, 0, 0) == -EACCES
    assert (caller.call("shmat", readable, 0, SHM_RDONLY) or 0) > 0
    assert caller.call("shmctl", readable, IPC_RMID, 0) == -EPERM


def test_other_calls_are_none(caller: Caller) -> None:
    assert caller.call("ipc", 99, 0, 0, 0, 0) == -EINVAL
