"""CP's end of a hypercall socket: replies, replies that cannot be sent, and hypercalls that take long."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from loop_support import in_event_loop, settle

from dcss.abi.hypercall import MAX_PACKET_BYTES, REPLY, Reply, Request
from dcss.engines.forked import port as port_module
from dcss.engines.forked.port import HypercallSocket

LONG, SHORT = Request(8, 1, 2, b"long"), Request(8, 1, 2, b"short")


class Stage:
    """A hypercall socket whose guest is the test. `LONG` is answered once the test says so."""

    def __init__(self) -> None:
        host, self.guest = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest.setblocking(False)
        self.host = host
        self.requests: list[Request] = []
        self.reasons: list[str] = []
        self.go_on = asyncio.Event()
        self.hypercalls = HypercallSocket(host, self._answer, self.reasons.append)

    async def _answer(self, request: Request) -> Reply:
        self.requests.append(request)
        if request == LONG:
            await self.go_on.wait()
        return Reply(0, len(request.block))

    async def call(self, *packets: bytes) -> None:
        for packet in packets:
            await asyncio.get_running_loop().sock_sendall(self.guest, packet)
        await settle()

    async def replies(self, count: int) -> list[tuple[int, ...]]:
        loop = asyncio.get_running_loop()
        return [REPLY.unpack(await loop.sock_recv(self.guest, MAX_PACKET_BYTES)) for _ in range(count)]


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    stage = Stage()
    stage.hypercalls.start("LINUX")
    await asyncio.sleep(0)
    try:
        yield stage
    finally:
        stage.go_on.set()
        await stage.hypercalls.close()
        stage.guest.close()
        assert stage.host.fileno() < 0


@in_event_loop
async def test_requests_are_answered_in_turn() -> None:
    async with staged() as stage:
        await stage.call(SHORT.pack(), Request(8, 0, 0).pack())
        assert [reply[1] for reply in await stage.replies(2)] == [5, 0]


@pytest.mark.parametrize("packet", [b"x", b"\xff" * 23])
@in_event_loop
async def test_what_is_no_request_is_unsupported(packet: bytes) -> None:
    async with staged() as stage:
        await stage.call(packet)
        assert [reply[0] for reply in await stage.replies(1)] == [3]
        assert stage.requests == []


@in_event_loop
async def test_a_socket_that_only_seemed_readable_is_no_reason_to_end_a_guest() -> None:
    """In storms epoll said so, now and then, of a socket that had nothing to read."""
    async with staged() as stage:
        loop = asyncio.get_running_loop()
        handle = loop._selector.get_key(stage.host.fileno()).data[0]  # type: ignore[attr-defined]
        handle._run()
        await stage.call(SHORT.pack())
        assert [reply[1] for reply in await stage.replies(1)] == [5]
        assert stage.reasons == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOBUFS, "CP could not reply to its hypercall: No buffer space available"),
        (errno.ETOOMANYREFS, "CP could not reply to its hypercall: Too many references: cannot splice: more than "),
        (errno.EBADF, "CP could not reply to its hypercall: Bad file descriptor"),
        (errno.EAGAIN, "it makes hypercalls and does not read CP's replies"),
    ],
)
@in_event_loop
async def test_a_guest_that_cannot_be_replied_to_is_ended(number: int, reason: str) -> None:
    """Left alone it would wait in its hypercall for ever."""
    with pytest.MonkeyPatch.context() as patch:
        fail_to_reply(patch, number)
        async with staged() as stage:
            await stage.call(SHORT.pack())
            assert len(stage.reasons) == 1
            assert stage.reasons[0].startswith(reason)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET])
@in_event_loop
async def test_a_guest_that_ended_before_its_reply_is_not_read_from_any_more(number: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fail_to_reply(patch, number)
        async with staged() as stage:
            await stage.call(SHORT.pack(), SHORT.pack())
            assert (stage.requests, stage.reasons) == ([SHORT], [])


def fail_to_reply(patch: pytest.MonkeyPatch, number: int) -> None:
    """Have CP's replies fail with an error number; OSError makes the class that belongs to it."""

    def send_reply(_socket: socket.socket, _reply: object) -> None:
        raise OSError(number, os.strerror(number))

    patch.setattr(port_module, "send_reply", send_reply)


@in_event_loop
async def test_a_guest_whose_hypercall_takes_long_is_answered_when_it_is_done() -> None:
    """What it sends before that waits, and the loop goes on."""
    async with staged() as stage:
        await stage.call(LONG.pack(), SHORT.pack())
        assert stage.requests == [LONG]
        stage.go_on.set()
        assert [reply[1] for reply in await stage.replies(2)] == [4, 5]


@in_event_loop
async def test_a_guest_that_ended_in_a_long_hypercall_needs_no_reply() -> None:
    async with staged() as stage:
        await stage.call(LONG.pack(), SHORT.pack())
        stage.hypercalls.end()
        stage.go_on.set()
        await settle()
        assert (stage.requests, stage.reasons) == ([LONG], [])
        assert stage.host.fileno() < 0


@in_event_loop
async def test_one_that_never_began_is_closed_at_once() -> None:
    stage = Stage()
    stage.hypercalls.end()
    assert stage.host.fileno() < 0
    stage.guest.close()
