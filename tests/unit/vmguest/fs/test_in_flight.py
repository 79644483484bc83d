"""Open files in messages that nobody can receive any more are closed; all others are kept."""

from collections.abc import Callable

import pytest

from vmguest.fs.namei import Vfs
from vmguest.fs.open import FileDescription
from vmguest.fs.pipe import make_pipe
from vmguest.fs.poll import POLLHUP
from vmguest.fs.unix_socket import SOCK_STREAM, SocketMemory, UnixSocket, make_socketpair

Pair = Callable[[], tuple[FileDescription, FileDescription]]


@pytest.fixture
def memory() -> SocketMemory:
    return SocketMemory()


@pytest.fixture
def pair(vfs: Vfs, memory: SocketMemory) -> Pair:
    return lambda: make_socketpair(vfs, SOCK_STREAM, memory=memory)


def send(by: FileDescription, *files: FileDescription) -> None:
    assert isinstance(by.file, UnixSocket)
    by.file.send(b"x", files)


def received(by: FileDescription) -> tuple[FileDescription, ...]:
    assert isinstance(by.file, UnixSocket)
    return by.file.receive(1).files


def close(*files: FileDescription) -> None:
    for each in files:
        each.close()


def test_two_sockets_that_hold_each_other_go_with_what_they_hold(vfs: Vfs, pair: Pair, memory: SocketMemory) -> None:
    reader, writer = make_pipe(vfs, 0)
    one, other = pair()
    send(one, one)
    send(other, other, writer)
    close(one, other, writer)
    assert not reader.poll() & POLLHUP
    close(*pair())
    assert reader.poll() & POLLHUP
    assert one.is_closed
    assert other.is_closed
    assert memory.used_bytes == 0


def test_what_somebody_can_receive_stays(vfs: Vfs, pair: Pair) -> None:
    reader, writer = make_pipe(vfs, 0)
    (one, other), (held, end) = pair(), pair()
    send(one, one)
    send(other, other, writer)
    send(held, one)  # who has the other end of that one may receive it, and by it all else
    close(one, other, writer)
    close(*pair())
    assert not reader.poll() & POLLHUP
    (found,) = received(end)
    assert found is one
    assert [file for file in received(found) if file is other] == [other]
    close(found, other)
    close(held, end, *pair())


def test_a_chain_goes_with_its_beginning(vfs: Vfs, pair: Pair) -> None:
    reader, writer = make_pipe(vfs, 0)
    (first, first_end), (second, second_end) = pair(), pair()
    send(second, writer)
    send(first, second_end, first_end)  # first_end waits in itself, and second_end in it
    close(first, first_end, second, second_end, writer)
    close(*pair())
    assert reader.poll() & POLLHUP


def test_those_who_never_close_a_socket_do_not_gather_them(pair: Pair, memory: SocketMemory) -> None:
    for _ in range(500):
        one, other = pair()
        send(one, one)
        send(other, other)
        close(one, other)
    assert len(memory.in_flight._receivers) < 200
