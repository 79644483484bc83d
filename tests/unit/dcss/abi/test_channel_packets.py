"""The packet of a hypercall, byte by byte, and descriptor passing over a real socket."""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcss.abi.console import OUTPUT_BYTES, FileAccess, pack_access, unpack_access
from dcss.abi.hypercall import MAX_PACKET_BYTES, Reply, Request, call, send_reply


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    guest, cp = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield guest, cp
    guest.close()
    cp.close()


def test_request_is_three_registers_and_a_block() -> None:
    packet = Request(0x64, 0x1008, 0x38, b"block").pack()
    assert packet == struct.pack(">QQQ", 0x64, 0x1008, 0x38) + b"block"
    assert Request.unpack(packet) == Request(0x64, 0x1008, 0x38, b"block")


@pytest.mark.parametrize("size_bytes", [0, 1, 23])
def test_short_request_is_an_error(size_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"found {size_bytes} bytes, wanted at least 24"):
        Request.unpack(bytes(size_bytes))


def test_reply_carries_a_descriptor_that_the_receiver_owns(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    guest, cp = pair
    path = tmp_path / "storage"
    path.write_bytes(b"content")
    descriptor = os.open(path, os.O_RDONLY)
    send_reply(cp, Reply(1, 2, 3, b"block", descriptor))
    reply = call(guest, Request(0x64, 0, 0))
    os.close(descriptor)
    assert reply.descriptor is not None
    assert reply[:4] == (1, 2, 3, b"block")
    assert os.pread(reply.descriptor, 7, 0) == b"content"
    assert not os.get_inheritable(reply.descriptor)
    os.close(reply.descriptor)
    assert cp.recv(100) == struct.pack(">QQQ", 0x64, 0, 0)


def test_reply_on_the_wire(pair: tuple[socket.socket, socket.socket]) -> None:
    guest, cp = pair
    send_reply(cp, Reply(2, 0x10, 44, b"x" * 8192))
    assert guest.recv(MAX_PACKET_BYTES + 1) == struct.pack(">QQQ", 2, 0x10, 44) + b"x" * 8192


def test_gone_cp_is_a_connection_error(pair: tuple[socket.socket, socket.socket]) -> None:
    guest, cp = pair
    cp.close()
    with pytest.raises(ConnectionError):
        call(guest, Request(0x64, 0, 0))


@pytest.mark.parametrize("size_bytes", [0, 1, 23])
def test_short_reply_is_a_connection_error(pair: tuple[socket.socket, socket.socket], size_bytes: int) -> None:
    """A CP that went after the request was sent leaves the end of the stream."""
    guest, cp = pair
    if size_bytes:
        cp.send(bytes(size_bytes))
    else:
        cp.shutdown(socket.SHUT_WR)
    message = f"hypercall reply: found {size_bytes} bytes, wanted at least 24; CP is gone"
    with pytest.raises(ConnectionError, match=message):
        call(guest, Request(0x64, 0, 0))


def test_cp_does_not_wait_for_a_guest_that_does_not_read(pair: tuple[socket.socket, socket.socket]) -> None:
    _, cp = pair

    def send_until_refused() -> None:
        for _ in range(10_000):
            send_reply(cp, Reply(0, block=bytes(8192)))

    with pytest.raises(BlockingIOError):
        send_until_refused()


def test_mounts_cross_the_console_whatever_their_paths_are() -> None:
    mounts = (FileAccess("dcssblk0", "/a b\udcff\n", "xip", "page-cache"), FileAccess("vdb", "/", "mtd", "mtd"))
    assert unpack_access(pack_access(mounts)) == mounts
    assert unpack_access(pack_access(())) == ()
    many = [FileAccess("vdb", f"/{'x' * 4000}", "xip", "xip")] * 100
    assert len(pack_access(many)) <= OUTPUT_BYTES
    assert unpack_access(pack_access(many)) == tuple(many[:15])
    with pytest.raises(ValueError, match="found 3 words, wanted 4 for each"):
        unpack_access(b"a\0b\0c")
