"""What a program can have the guest kernel keep for it is limited: pipes, messages of sockets, timers, threads."""

from errno import EAGAIN, EINVAL, ENFILE, ENOBUFS
from struct import pack, unpack

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.fs import pipe
from vmguest.fs.unix_socket import SocketMemory

AF_UNIX, SOCK_STREAM, O_NONBLOCK, MSG_DONTWAIT = 1, 1, 0o4000, 0x40
F_GETPIPE_SZ, CLOCK_MONOTONIC = 1032, 1
TEXT = bytes(100_000)


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


def pair(caller: Caller, *call: str | int) -> tuple[int, int]:
    """The two descriptors that a call makes."""
    numbers = caller.put(8)
    name, *parameters = call
    assert caller.call(str(name), *map(int, parameters), numbers) == 0
    one, other = unpack(">ii", caller.get(numbers, 8))
    return one, other


def new_pipe(caller: Caller) -> tuple[int, int]:
    numbers = caller.put(8)
    assert caller.call("pipe2", numbers, O_NONBLOCK) == 0
    one, other = unpack(">ii", caller.get(numbers, 8))
    return one, other


def test_pipes_beyond_a_limit_are_small_until_others_go(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "MOST_BYTES", 2 * pipe.CAPACITY_BYTES)
    pipes = [new_pipe(caller) for _ in range(3)]
    sizes = [caller.call("fcntl", each[0], F_GETPIPE_SZ, 0) for each in pipes]
    assert sizes == [pipe.CAPACITY_BYTES, pipe.CAPACITY_BYTES, pipe.PIPE_BUF]
    assert [caller.call("write", each[1], TEXT, len(TEXT)) for each in pipes] == sizes
    for number in (*pipes[0], *pipes[2]):
        assert caller.call("close", number) == 0
    assert caller.call("fcntl", new_pipe(caller)[1], F_GETPIPE_SZ, 0) == pipe.CAPACITY_BYTES


def test_there_are_so_many_pipes(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "MOST_PIPES", 2)
    first, _ = new_pipe(caller), new_pipe(caller)
    assert caller.call("pipe2", caller.put(8), 0) == -ENFILE
    for number in first:
        caller.call("close", number)
    new_pipe(caller)


def test_messages_of_all_sockets_have_a_limit_together(caller: Caller) -> None:
    caller.guest.system.sockets.memory = memory = SocketMemory(250_000)
    pairs = [pair(caller, "socketpair", AF_UNIX, SOCK_STREAM, 0) for _ in range(3)]
    sent = [caller.call("sendto", each[0], TEXT, len(TEXT), MSG_DONTWAIT, 0, 0) for each in pairs]
    assert sent == [len(TEXT), len(TEXT), -ENOBUFS]
    assert caller.call("recvfrom", pairs[0][1], caller.put(1000), 1000, 0, 0, 0) == 1000
    for number in (number for each in pairs[:2] for number in each):
        caller.call("close", number)
    assert memory.used_bytes == 0
    assert caller.call("sendto", pairs[2][0], TEXT, len(TEXT), MSG_DONTWAIT, 0, 0) == len(TEXT)


def test_there_are_so_many_timers(caller: Caller) -> None:
    number = caller.put(4)
    for _ in range(1024):
        assert caller.call("timer_create", CLOCK_MONOTONIC, 0, number) == 0
    assert caller.call("timer_create", CLOCK_MONOTONIC, 0, number) == -EAGAIN


@pytest.mark.parametrize(
    "event",
    [
        pack(">Qiii", 0, 99, 0, 0),
        pack(">Qiii", 0, 0, 0, 0),
        pack(">Qiii", 0, 10, 7, 0),
        pack(">Qiii", 0, 10, 4, 1),
    ],
)
def test_an_event_that_a_timer_cannot_have(caller: Caller, event: bytes) -> None:
    assert caller.call("timer_create", CLOCK_MONOTONIC, event.ljust(64, b"\0"), caller.put(4)) == -EINVAL


@pytest.mark.parametrize("flags", [0x10000, 0x10100, 0x800, 0x10900 | 0x20000, 0x10000000, 0x1000, (1 << 64) - 1])
def test_flags_of_clone_that_are_refused(caller: Caller, flags: int) -> None:
    threads = len(caller.guest.system.table.threads)
    assert caller.call("clone", 0, flags, 0, 0, 0) == -EINVAL
    assert len(caller.guest.system.table.threads) == threads


def test_the_lowest_free_descriptor_is_taken(caller: Caller) -> None:
    assert [caller.call("dup", 0) for _ in range(4)] == [3, 4, 5, 6]
    for number in (4, 3):
        caller.call("close", number)
    assert caller.call("fcntl", 0, 0, 5) == 7
    assert [caller.call("dup", 0) for _ in range(3)] == [3, 4, 8]
    child = caller.call("fork")
    assert child is not None
    files = caller.guest.system.table.processes[child].files
    files.close(5)
    assert (files.dup(0), files.dup(0)) == (5, 9)
    assert caller.call("dup", 0) == 9
