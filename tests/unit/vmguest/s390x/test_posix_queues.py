"""Message queues of POSIX: named, by priority, with waits, limits and one notice."""

import struct
import time
from errno import EACCES, EAGAIN, EBADF, EBUSY, EEXIST, EINVAL, EMFILE, EMSGSIZE, ENOENT, EPERM, ETIMEDOUT

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.fs.poll import READABLE, WRITABLE
from vmguest.s390x.signals import bit

O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_NONBLOCK = 0, 1, 2, 0o100, 0o200, 0o4000
SIGUSR1 = 10
ATTRIBUTES = struct.Struct(">4q32x")


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


def attributes(messages: int, message_bytes: int, flags: int = 0) -> bytes:
    return ATTRIBUTES.pack(flags, messages, message_bytes, 0)


def made(caller: Caller, flags: int = 0, messages: int = 2, message_bytes: int = 16) -> int:
    number = caller.call("mq_open", b"q\0", O_CREAT | O_RDWR | flags, 0o600, attributes(messages, message_bytes))
    assert number is not None
    assert number >= 0
    return number


def received(caller: Caller, number: int, timeout: bytes | int = 0) -> tuple[bytes, int] | int | None:
    buffer, priority = caller.put(16), caller.put(4)
    found = caller.call("mq_timedreceive", number, buffer, 16, priority, timeout)
    if found is None or found < 0:
        return found
    return caller.get(buffer, found), int.from_bytes(caller.get(priority, 4))


def told(caller: Caller, number: int) -> tuple[int, ...]:
    place = caller.put(64)
    assert caller.call("mq_getsetattr", number, 0, place) == 0
    return ATTRIBUTES.unpack(caller.get(place, 64))


def test_messages_come_by_priority_and_then_by_age(caller: Caller) -> None:
    number = made(caller, messages=4)
    for text, priority in ((b"low", 1), (b"first", 9), (b"second", 9), (b"", 0)):
        assert caller.call("mq_timedsend", number, text, len(text), priority, 0) == 0
    assert told(caller, number) == (0, 4, 16, 4)
    assert [received(caller, number) for _ in range(4)] == [(b"first", 9), (b"second", 9), (b"low", 1), (b"", 0)]


def test_who_finds_it_empty_or_full_waits(caller: Caller) -> None:
    number = made(caller, messages=1)
    file = caller.process.files.get(number)
    assert file.poll() == WRITABLE
    assert received(caller, number) is None
    waiting = caller.thread.waiting
    assert waiting is not None
    assert not waiting.ready()
    assert caller.call("mq_timedsend", number, b"x", 1, 0, 0) == 0
    assert waiting.ready()
    assert file.poll() == READABLE
    assert caller.call("mq_timedsend", number, b"y", 1, 0, 0) is None
    caller.thread.leave_call()
    past = struct.pack(">qq", int(time.time()) - 1, 0)
    assert caller.call("mq_timedsend", number, b"y", 1, 0, past) == -ETIMEDOUT
    caller.thread.leave_call()
    assert caller.call("mq_getsetattr", number, attributes(0, 0, O_NONBLOCK), 0) == 0
    assert told(caller, number) == (O_NONBLOCK, 1, 16, 1)
    assert caller.call("mq_timedsend", number, b"y", 1, 0, 0) == -EAGAIN
    assert received(caller, number) == (b"x", 0)
    assert received(caller, number) == -EAGAIN


def test_a_name_leads_to_one_queue_until_it_is_taken(caller: Caller) -> None:
    number = made(caller)
    assert caller.call("mq_timedsend", number, b"x", 1, 0, 0) == 0
    assert caller.call("mq_open", b"q\0", O_CREAT | O_EXCL, 0o600, 0) == -EEXIST
    other = caller.call("mq_open", b"q\0", O_RDONLY, 0, 0)
    assert other is not None
    assert caller.call("mq_unlink", b"q\0") == 0
    assert caller.call("mq_open", b"q\0", O_RDONLY, 0, 0) == -ENOENT
    assert caller.call("mq_unlink", b"q\0") == -ENOENT
    assert received(caller, other) == (b"x", 0)
    assert caller.call("mq_timedsend", other, b"x", 1, 0, 0) == -EBADF


def test_a_notice_comes_once_and_to_one_process(caller: Caller) -> None:
    number = made(caller)
    event = struct.pack(">8sii", (7).to_bytes(8, "big"), SIGUSR1, 0).ljust(64, b"\0")
    caller.thread.blocked = bit(SIGUSR1)
    assert caller.call("mq_notify", number, event) == 0
    assert caller.call("mq_notify", number, event) == -EBUSY
    caller.guest.system.scheduler.current = caller.thread
    for _ in range(2):
        assert caller.call("mq_timedsend", number, b"x", 1, 0, 0) == 0
        found = caller.process.pending.take(bit(SIGUSR1))
        if found is not None:
            assert (found.code, found.fields[:16]) == (-3, struct.pack(">iIQ", caller.process.pid, 0, 7))
            break
    assert caller.process.pending.take(bit(SIGUSR1)) is None
    assert caller.call("mq_notify", number, event) == 0
    assert caller.call("mq_notify", number, 0) == 0
    assert caller.call("mq_notify", number, event) == 0
    caller.guest.system.scheduler.current = None


@pytest.mark.parametrize(("messages", "message_bytes"), [(0, 8), (8, 0), (-1, 8), (100_000, 8), (8, 1 << 25)])
def test_sizes_that_are_refused(caller: Caller, messages: int, message_bytes: int) -> None:
    assert caller.call("mq_open", b"q\0", O_CREAT, 0o600, attributes(messages, message_bytes)) == -EINVAL


def test_what_else_is_refused(caller: Caller) -> None:
    number = made(caller)
    assert caller.call("mq_timedsend", number, b"x" * 17, 17, 0, 0) == -EMSGSIZE
    assert caller.call("mq_timedsend", number, b"x", 1, 32_768, 0) == -EINVAL
    assert caller.call("mq_timedreceive", number, caller.put(16), 15, 0, 0) == -EMSGSIZE
    assert caller.call("mq_timedsend", 0, b"x", 1, 0, 0) == -EBADF
    assert caller.call("mq_open", b"a/b\0", O_CREAT, 0o600, 0) == -EACCES
    assert caller.call("mq_open", b"large\0", O_CREAT, 0o600, attributes(1000, 8192)) == -EMFILE
    caller.process.credentials = caller.process.credentials._replace(uid=7, gid=7)
    assert caller.call("mq_open", b"q\0", O_RDONLY, 0, 0) == -EACCES
    assert caller.call("mq_unlink", b"q\0") == -EPERM
