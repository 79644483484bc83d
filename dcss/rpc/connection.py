"""One client of the control socket as CP sees it: what it sends is bounded, and so is the time that it may take."""

import asyncio
import socket

from dcss.errors import ConfigError, DcssError
from dcss.rpc.protocol import (
    LINE_END,
    MAX_REQUEST_BYTES,
    Arguments,
    ControlRequest,
    Output,
    error_line,
    result_line,
)

REQUEST_SECONDS = 10.0  # in which a request must have come whole
STALL_SECONDS = 30.0  # for so long a client may take nothing of what it is sent
_READ_BYTES = 1 << 16
_SEND_BYTES = 1 << 16


class ClientConnection:
    """One request and its answer. Make it with `open`; a handler uses `send_output` only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        writer.transport.set_write_buffer_limits(high=0)  # drain() waits until the kernel has taken everything

    @classmethod
    async def open(cls, sock: socket.socket) -> "ClientConnection":
        """Take over a connected socket."""
        return cls(*await asyncio.open_unix_connection(sock=sock, limit=MAX_REQUEST_BYTES))

    async def receive(self) -> ControlRequest | None:
        """Return the request; None if the client goes, or takes longer than REQUEST_SECONDS. Raises ConfigError."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await self._reader.readuntil(LINE_END)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return None
        except asyncio.LimitOverrunError:
            raise ConfigError(f"request: found more than {MAX_REQUEST_BYTES} bytes in one line, wanted fewer") from None
        return ControlRequest.unpack(line)

    async def wait_gone(self) -> None:
        """Return once the client has closed its end. Whatever it sends until then is discarded."""
        try:
            while await self._reader.read(_READ_BYTES):
                pass
        except ConnectionError:
            pass

    async def send_output(self, output: Output) -> None:
        """Send a piece of a stream, waiting while the client reads more slowly. Raises ConnectionError: it has gone."""
        await self._send(output.pack())

    async def send_result(self, result: Arguments) -> None:
        """Send the result, the last line of the answer. Raises ConnectionError: the client has gone."""
        await self._send(result_line(result))

    async def send_error(self, error: DcssError) -> None:
        """Send an error, the last line of the answer. Raises ConnectionError: the client has gone."""
        await self._send(error_line(error))

    def close(self) -> None:
        """Close the connection, whatever is still to be sent. May be called twice."""
        self._writer.transport.abort()

    async def _send(self, line: bytes) -> None:
        # Piece by piece, so that a client which takes a long answer slowly is not mistaken for one that takes nothing.
        for start in range(0, len(line), _SEND_BYTES):
            self._writer.write(line[start : start + _SEND_BYTES])
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._writer.drain()
            except TimeoutError:
                self.close()
                raise ConnectionAbortedError(f"the client took nothing for {STALL_SECONDS:g} s") from None
