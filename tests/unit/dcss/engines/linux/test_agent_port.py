"""Packets to and from the agent, over a stream."""

import asyncio
import socket

import pytest
from loop_support import in_event_loop

from dcss.engines.linux.agent_port import AgentPort


def framed(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(4, "big") + packet for packet in packets)


class Ends:
    """The port's other end, and what was found wrong."""

    def __init__(self) -> None:
        self.faults = 0
        port, self.guest = socket.socketpair()
        self.guest.setblocking(False)
        self.port = AgentPort(port, self.fault)
        self.port.packets.setblocking(False)

    def fault(self) -> None:
        self.faults += 1


@pytest.mark.parametrize("size", [1, 3, 7, 4096])
@in_event_loop
async def test_packets_keep_their_borders_whatever_the_stream_does(size: int) -> None:
    loop, ends = asyncio.get_running_loop(), Ends()
    serving = asyncio.create_task(ends.port.serve())
    sent = (b"V" * 100, b"x", b"O" + bytes(5000))
    stream = framed(*sent)
    for at in range(0, len(stream), size):
        await loop.sock_sendall(ends.guest, stream[at : at + size])
    assert [await loop.sock_recv(ends.port.packets, 70_000) for _ in sent] == list(sent)
    await loop.sock_sendall(ends.port.packets, b"exec\0ls")
    await loop.sock_sendall(ends.port.packets, b"books\0")
    received = b""
    while len(received) < len(framed(b"exec\0ls", b"books\0")):
        received += await loop.sock_recv(ends.guest, 100)
    assert received == framed(b"exec\0ls", b"books\0")
    ends.guest.close()
    await serving
    assert await loop.sock_recv(ends.port.packets, 10) == b"", "the guest's end is seen"
    assert not ends.faults
    ends.port.packets.close()


@pytest.mark.parametrize("head", [0, 65536, 0xFFFF_FFFF])
@in_event_loop
async def test_what_is_no_packet_is_a_fault(head: int) -> None:
    ends = Ends()
    await asyncio.get_running_loop().sock_sendall(ends.guest, head.to_bytes(4, "big") + b"data")
    await asyncio.wait_for(ends.port.serve(), 60)
    assert ends.faults == 1
    ends.guest.close()
    ends.port.packets.close()
