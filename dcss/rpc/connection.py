"""One client of the control socket as CP sees it: what it sends is bounded, and so is the time that it may take."""

import asyncio
import socket

from dcss.abi.programs import INPUT, WINDOW_BYTES, ProgramEvent
from dcss.errors import ConfigError, DcssError
from dcss.rpc.protocol import (
    LINE_END,
    MAX_REQUEST_BYTES,
    Arguments,
    ControlRequest,
    Output,
    Taken,
    error_line,
    read_event,
    result_line,
)

REQUEST_SECONDS = 10.0  # in which a request must have come whole
STALL_SECONDS = 30.0  # for so long a client may take nothing of what it is sent
_READ_BYTES = 1 << 16
_MAX_EVENTS = 1 << 16  # a byte of standard input each, at worst
_SEND_BYTES = 1 << 16


class ClientConnection:
    """One request and its answer. Make it with `open`.

    A handler uses `send_output`, and for a program's input `accept_events`, `next_event` and `send_taken`.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._events: asyncio.Queue[ProgramEvent | ConfigError] = asyncio.Queue()
        self._accepts_events = False
        self._untaken_bytes = 0  # of standard input
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
        """Return once the client has closed its end. Whatever it sends until then is an event, or discarded."""
        try:
            while await (self._read_event() if self._accepts_events else self._reader.read(_READ_BYTES)):
                pass
        except ConnectionError:
            pass

    def accept_events(self) -> None:
        """Take from now on what the client says to its program. A handler calls it before it waits for anything."""
        self._accepts_events = True

    async def next_event(self) -> ProgramEvent:
        """Wait for what the client says next. Raises ConfigError where it is nothing to say to a program."""
        event = await self._events.get()
        if isinstance(event, ConfigError):
            raise event
        return event

    async def send_taken(self, size_bytes: int) -> None:
        """Have the client send so many bytes more of standard input. Raises ConnectionError: it has gone."""
        self._untaken_bytes -= size_bytes
        await self._send(Taken(size_bytes).pack())

    async def _read_event(self) -> bool:
        """Read one line; return False where the client has closed its end."""
        try:
            event = read_event(await self._reader.readuntil(LINE_END))
            self._untaken_bytes += len(event.data) if event.kind == INPUT else 0
            if self._untaken_bytes > WINDOW_BYTES:
                raise ConfigError(f"exec: found more than {WINDOW_BYTES} bytes of input that no program has read")
            if self._events.qsize() >= _MAX_EVENTS:
                raise ConfigError(f"exec: found more than {_MAX_EVENTS} events that the guest has not read")
            self._events.put_nowait(event)
        except asyncio.IncompleteReadError:
            return False
        except asyncio.LimitOverrunError:
            self._refuse(ConfigError(f"exec: found more than {MAX_REQUEST_BYTES} bytes in one line, wanted fewer"))
        except ConfigError as error:
            self._refuse(error)
        return True

    async def send_output(self, output: Output) -> None:
        """Send a piece of a stream, waiting while the client reads more slowly. Raises ConnectionError: it has gone."""
        await self._send(output.pack())

    async def send_result(self, result: Arguments) -> None:
        """Send the result, the last line of the answer. Raises ConnectionError: the client has gone."""
        await self._send(result_line(result))

    async def send_error(self, error: DcssError) -> None:
        """Send an error, the last line of the answer. Raises ConnectionError: the client has gone."""
        await self._send(error_line(error))

    def _refuse(self, error: ConfigError) -> None:
        """Take no more events, and have the handler get this error behind those that came."""
        self._accepts_events = False
        self._events.put_nowait(error)

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
