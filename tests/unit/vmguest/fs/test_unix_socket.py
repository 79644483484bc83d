"""Socket pairs do what those of this machine's kernel do, whatever is sent, read, shut down and closed."""

import os
import select
import socket
import stat
from collections.abc import Callable
from errno import EAGAIN, EINVAL, EMSGSIZE, ENOTTY, EPIPE, ESOCKTNOSUPPORT, ESPIPE
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from program_support import ADDRESS, FakeMemory, errno_of, ioctl, read

from dcss.errors import KernelError
from vmguest.fs.ioctls import FIONREAD
from vmguest.fs.namei import Vfs
from vmguest.fs.open import FileDescription
from vmguest.fs.poll import POLLIN, POLLOUT
from vmguest.fs.unix_socket import CAPACITY_BYTES, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, UnixSocket, make_socketpair

KINDS = [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET]
ALL_EVENTS = 0x23DF


class Step(NamedTuple):
    action: str
    end: int
    size: int


ACTIONS = ["send", "send", "read", "read", "peek", "shutdown", "close"]
steps = st.lists(st.builds(Step, st.sampled_from(ACTIONS), st.integers(0, 1), st.integers(1, 9)), max_size=12)


class Kernels:
    def __init__(self, kind: int) -> None:
        self.ends = socket.socketpair(socket.AF_UNIX, kind)
        for end in self.ends:
            end.setblocking(False)

    def do(self, step: Step, data: bytes) -> object:
        end = self.ends[step.end]
        calls: dict[str, Callable[[], object]] = {
            "send": lambda: os.write(end.fileno(), data),
            "read": lambda: os.read(end.fileno(), step.size),
            "peek": lambda: end.recv(step.size, socket.MSG_PEEK),
            "shutdown": lambda: end.shutdown(step.size % 3),
            "close": end.close,
        }
        try:
            return calls[step.action]()
        except OSError as error:
            return error.errno

    def poll(self, number: int) -> int:
        poll = select.poll()
        poll.register(self.ends[number], ALL_EVENTS)
        return dict(poll.poll(0)).get(self.ends[number].fileno(), 0)


def do(opened: FileDescription, step: Step, data: bytes) -> object:
    end = opened.file
    assert isinstance(end, UnixSocket)
    calls: dict[str, Callable[[], object]] = {
        "send": lambda: opened.write(data),
        "read": lambda: read(opened, step.size),
        "peek": lambda: end.receive(step.size, peek=True).data,
        "shutdown": lambda: end.shutdown(step.size % 3),
        "close": opened.close,
    }
    try:
        return calls[step.action]()
    except KernelError as error:
        return error.errno


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=300)
@given(kind=st.sampled_from(KINDS), steps=steps)
@example(kind=SOCK_STREAM, steps=[Step("send", 0, 5), Step("close", 0, 0), Step("read", 1, 9), Step("read", 1, 9)])
def test_pairs_do_what_the_kernels_do(vfs: Vfs, kind: int, steps: list[Step]) -> None:
    ours, kernels = make_socketpair(vfs, kind), Kernels(kind)
    opened = {0, 1}
    for number, step in enumerate(steps):
        if step.end not in opened:
            continue
        data = bytes((number,)) * step.size
        found, wanted = do(ours[step.end], step, data), kernels.do(step, data)
        if kind == SOCK_DGRAM and found == b"" and wanted == EAGAIN:
            wanted = b""  # shut down: a read that may wait returns at once, and one that may not says EAGAIN
        assert found == wanted, step
        if step.action == "close":
            opened.discard(step.end)
        for end in opened:
            assert ours[end].poll() == kernels.poll(end), (step, end)
    for each in kernels.ends:
        each.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_has_no_positions_and_tells_what_can_be_read(vfs: Vfs, kind: int) -> None:
    one, other = make_socketpair(vfs, kind)
    assert stat.S_ISSOCK(one.dentry.inode.mode)
    assert one.dentry.path == b"socket:[%d]" % one.dentry.inode.number
    assert errno_of(lambda: one.seek(0)) == ESPIPE
    one.write(b"first")
    one.write(b"second")
    assert int.from_bytes(ioctl(other, FIONREAD)[:4]) == (11 if kind == SOCK_STREAM else 5)
    assert errno_of(lambda: one.ioctl(0x1234, ADDRESS, FakeMemory())) == ENOTTY


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_socket_waits(vfs: Vfs, kind: int) -> None:
    one, other = make_socketpair(vfs, kind)
    sent = 0
    while errno_of(lambda: one.write(bytes(40_000))) is None:
        sent += 40_000
    assert sent > CAPACITY_BYTES * 3 // 4
    assert errno_of(lambda: one.write(bytes(40_000))) == EAGAIN
    assert not one.poll() & POLLOUT
    while other.poll() & POLLIN:
        read(other)
    assert one.poll() & POLLOUT
    assert errno_of(lambda: one.write(bytes(CAPACITY_BYTES + 1))) == (None if kind == SOCK_STREAM else EMSGSIZE)


def test_what_is_no_pair_is_refused(vfs: Vfs) -> None:
    one, other = make_socketpair(vfs, SOCK_STREAM)
    other.close()
    refused: list[tuple[Callable[[], object], int]] = [
        (lambda: make_socketpair(vfs, 4), ESOCKTNOSUPPORT),
        (lambda: make_socketpair(vfs, SOCK_STREAM, 1), EINVAL),
        (lambda: one.file.shutdown(3), EINVAL),  # type: ignore[attr-defined]
        (lambda: one.write(b"x"), EPIPE),
    ]
    assert [errno_of(call) for call, _ in refused] == [errno for _, errno in refused]
