"""CP's end of a guest's hypercall socket: one request at a time, one packet each way."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from dcss.abi.diag64 import ConditionCode
from dcss.abi.hypercall import MAX_PACKET_BYTES, Reply, Request, send_reply
from dcss.engines.base import Port
from dcss.host.aio import PacketReader, start_task
from dcss.host.rlimits import explain


class HypercallSocket:
    """Serves the hypercalls of one guest. `give_up` is called with the reason if the guest cannot go on."""

    def __init__(self, sock: socket.socket, port: Port, give_up: Callable[[str], None]) -> None:
        self._socket, self._port, self._give_up = sock, port, give_up
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        sock.setblocking(False)

    def start(self, name: str) -> None:
        """Serve the guest from now on."""
        self._task = start_task(self._serve(), f"hypercalls of {name}")

    def end(self) -> None:
        """Take nothing more from the guest. A hypercall that is being answered goes on, and gets no reply."""
        self._ended = True
        self._give_up = _leave_as_it_is  # so that nothing refers back to whose guest it is
        if self._task is None:
            self._socket.close()
            return
        with suppress(OSError):  # it was closed after its last request
            self._socket.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """End it, and wait until no hypercall is being answered."""
        self.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _serve(self) -> None:
        with self._socket, PacketReader(self._socket, MAX_PACKET_BYTES + 1) as packets:
            while True:
                try:
                    packet = await packets.receive()
                except ConnectionError:
                    return  # the guest has ended
                except OSError as error:
                    self._give_up(f"CP could not take its hypercall: {explain(error)}")
                    return
                if self._ended or not packet or not self._send(await self._answer(packet)):
                    return

    async def _answer(self, packet: bytes) -> Reply:
        try:
            request = Request.unpack(packet)
        except ValueError:
            return Reply(ConditionCode.UNSUPPORTED)
        return await self._port(request)

    def _send(self, reply: Reply) -> bool:
        """Send a reply; return False where the guest takes none any more."""
        try:
            send_reply(self._socket, reply)
        except ConnectionError:
            return False  # the guest has ended
        except BlockingIOError:  # the others must not wait for it
            self._give_up("it makes hypercalls and does not read CP's replies")
            return False
        except OSError as error:  # without a reply it would wait for ever
            self._give_up(f"CP could not reply to its hypercall: {explain(error)}")
            return False
        return True


def _leave_as_it_is(_reason: str) -> None:
    """Do nothing about a guest that has ended."""
