"""One hypercall on a SEQPACKET socket: what crosses it is what crosses it on z/VM.

Request: the DIAGNOSE code, registers Rx and Ry, and the parameter block that the guest's port copied out of real
storage. Reply: the condition code, Rx, Ry, and the block that the port copies into real storage. A load's reply also
carries one descriptor, the storage itself. One packet each way; all numbers big-endian.
"""

import array
import socket
from typing import NamedTuple

from dcss.abi.layout import U64, struct_of

MAX_BLOCK_BYTES = 8192  # the largest block is a CP command's reply buffer (Linux: cpcmd, up to two pages)


class RequestRegisters(NamedTuple):
    """Head of a request packet."""

    diagnose: U64
    rx: U64
    ry: U64


class ReplyRegisters(NamedTuple):
    """Head of a reply packet."""

    condition_code: U64
    rx: U64
    ry: U64


REQUEST = struct_of(RequestRegisters, ">")
REPLY = struct_of(ReplyRegisters, ">")
MAX_PACKET_BYTES = REPLY.size + MAX_BLOCK_BYTES
DESCRIPTOR_SPACE_BYTES = socket.CMSG_LEN(4)
Ancillary = list[tuple[int, int, bytes]]


class Request(NamedTuple):
    """One DIAGNOSE instruction of a guest."""

    diagnose: int
    rx: int
    ry: int
    block: bytes = b""

    def pack(self) -> bytes:
        """Return the packet."""
        return REQUEST.pack(self.diagnose, self.rx, self.ry) + self.block

    @classmethod
    def unpack(cls, packet: bytes) -> "Request":
        """Read a packet. Raises ValueError where it is shorter than its head."""
        if len(packet) < REQUEST.size:
            raise ValueError(f"hypercall packet: found {len(packet)} bytes, wanted at least {REQUEST.size}")
        diagnose, rx, ry = REQUEST.unpack_from(packet)
        return cls(diagnose, rx, ry, packet[REQUEST.size :])


class Reply(NamedTuple):
    """CP's answer. `descriptor` is the sender's own; the receiver gets a new number and owns it."""

    condition_code: int
    rx: int = 0
    ry: int = 0
    block: bytes = b""
    descriptor: int | None = None

    def pack(self) -> bytes:
        """Return the packet, without the descriptor, which goes beside it."""
        return REPLY.pack(self.condition_code, self.rx, self.ry) + self.block


def send_reply(sock: socket.socket, reply: Reply) -> None:
    """Send one reply without waiting.

    Raises BlockingIOError where the peer does not read, ConnectionError where it is gone, and another OSError where the
    reply could not be sent (unix(7): ETOOMANYREFS for its descriptor), so that the peer waits for it still.
    """
    packet = reply.pack()
    ancillary = []
    if reply.descriptor is not None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [reply.descriptor]))]
    sock.sendmsg([packet], ancillary, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def call(sock: socket.socket, request: Request) -> Reply:
    """Issue one hypercall and wait for its reply. Raises ConnectionError where CP is gone or answers with no packet."""
    sock.send(request.pack(), socket.MSG_NOSIGNAL)
    packet, ancillary, _, _ = sock.recvmsg(MAX_PACKET_BYTES, DESCRIPTOR_SPACE_BYTES, socket.MSG_CMSG_CLOEXEC)
    return unpack_reply(packet, ancillary)


def unpack_reply(packet: bytes, ancillary: Ancillary) -> Reply:
    """Return a reply from what was received of it. Raises ConnectionError where CP answered with no packet."""
    if len(packet) < REPLY.size:
        raise ConnectionError(f"hypercall reply: found {len(packet)} bytes, wanted at least {REPLY.size}; CP is gone")
    descriptor = None
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptor = array.array("i", data[:4])[0]
    condition_code, rx, ry = REPLY.unpack_from(packet)
    return Reply(condition_code, rx, ry, packet[REPLY.size :], descriptor)
