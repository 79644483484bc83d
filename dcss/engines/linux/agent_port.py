"""The way to the agent in a Linux guest: packets of dcss.abi.console over a virtio port, which is a stream.

Each packet has its length before it, in four bytes, big-endian. What the guest's console prints cannot get in here.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from dcss.abi.console import PACKET_BYTES

HEAD_BYTES = 4


class AgentPort:
    """Passes packets between the port's socket and one that keeps their borders, `packets`, for a GuestConsole.

    `on_fault` is called where the guest sends what is no packet.
    """

    def __init__(self, port: socket.socket, on_fault: Callable[[], None]) -> None:
        self._port, self._on_fault = port, on_fault
        self.packets, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        port.setblocking(False)

    async def serve(self) -> None:
        """Pass packets both ways until the machine has ended, and all that it sent has been passed."""
        outward = asyncio.create_task(self._to_guest())
        try:
            await self._from_guest()
        finally:
            outward.cancel()
            await asyncio.wait([outward])
            self._ours.close()
            self._port.close()

    async def _from_guest(self) -> None:
        loop = asyncio.get_running_loop()
        waiting = bytearray()
        with suppress(ConnectionError):
            while received := await loop.sock_recv(self._port, 1 << 16):
                waiting += received
                while len(waiting) >= HEAD_BYTES:
                    size_bytes = int.from_bytes(waiting[:HEAD_BYTES], "big")
                    if not 0 < size_bytes <= PACKET_BYTES:
                        self._on_fault()
                        return
                    end = HEAD_BYTES + size_bytes
                    if len(waiting) < end:
                        break
                    await loop.sock_sendall(self._ours, waiting[HEAD_BYTES:end])
                    del waiting[:end]

    async def _to_guest(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while packet := await loop.sock_recv(self._ours, PACKET_BYTES):
                await loop.sock_sendall(self._port, len(packet).to_bytes(HEAD_BYTES, "big") + packet)
