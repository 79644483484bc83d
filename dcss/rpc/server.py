"""CP's end of the control socket: accepts a bounded number of clients of its own user, and answers their requests."""

import asyncio
import os
import socket
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from functools import partial
from pathlib import Path

from dcss.errors import ConfigError, DcssError, LaunchError
from dcss.rpc.address import peer_of, socket_path
from dcss.rpc.connection import ClientConnection
from dcss.rpc.protocol import Arguments, ControlRequest

MAX_CLIENTS = 64
_BACKLOG = 64
_ACCEPT_RETRY_SECONDS = 1.0

# Returns the result. It is cancelled if the client goes before it has the result.
Handler = Callable[[ClientConnection, Arguments], Awaitable[Arguments]]


class ControlServer:
    """The control socket in `directory`, which must be private. `handlers` answer requests, by name.

    A DcssError or OSError that a handler raises is the client's answer. Any other exception is a fault of CP: the
    client's answer is that, `on_fault` gets the traceback, and CP goes on.
    """

    def __init__(self, directory: Path, handlers: Mapping[str, Handler], on_fault: Callable[[str], None]) -> None:
        self._handlers, self._on_fault = handlers, on_fault
        self._accepting: asyncio.Task[None] | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._socket = _listen_in(directory)

    def start(self) -> None:
        """Serve clients in the running event loop. Those that connected before have waited."""
        self._accepting = asyncio.create_task(self._accept_clients())

    async def close(self) -> None:
        """Stop serving: cancel the handlers, wait for their end, close every connection. May be called twice.

        The socket's name goes with its directory.
        """
        tasks = [*self._clients] if self._accepting is None else [self._accepting, *self._clients]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()

    async def _accept_clients(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._socket)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in {EMFILE, ENFILE, ENOBUFS, ENOMEM}:
                    self._on_fault(traceback.format_exc())
                await asyncio.sleep(_ACCEPT_RETRY_SECONDS)  # the client stays in the queue; others may leave meanwhile
                continue
            if peer_of(sock).uid not in {0, os.geteuid()} or len(self._clients) >= MAX_CLIENTS:
                sock.close()
            else:
                client = asyncio.create_task(self._serve(sock))
                self._clients.add(client)
                client.add_done_callback(partial(self._forget, sock))
            await asyncio.sleep(0)  # sock_accept returns at once while clients are queued; serve the others in between

    def _forget(self, sock: socket.socket, client: asyncio.Task[None]) -> None:
        sock.close()
        self._clients.discard(client)
        error = None if client.cancelled() else client.exception()
        if error is not None:
            self._on_fault("".join(traceback.format_exception(error)))

    async def _serve(self, sock: socket.socket) -> None:
        connection = await ClientConnection.open(sock)
        try:
            with suppress(ConnectionError):  # the client has gone
                await self._serve_request(connection)
        finally:
            connection.close()

    async def _serve_request(self, connection: ClientConnection) -> None:
        """Answer the one request of a client; cancel the handler if the client goes before it has its answer."""
        try:
            request = await connection.receive()
        except ConfigError as error:
            await connection.send_error(error)
            return
        if request is None:
            return
        answer = asyncio.create_task(self._answer(connection, request))
        gone = asyncio.create_task(connection.wait_gone())
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _answer(self, connection: ClientConnection, request: ControlRequest) -> None:
        try:
            handler = self._handlers.get(request.name)
            if handler is None:
                raise ConfigError(f"request: found {request.name!r}, wanted one of {', '.join(self._handlers)}")
            await connection.send_result(await handler(connection, request.arguments))
        except DcssError as error:
            await connection.send_error(error)
        except OSError as error:  # if the client has gone, this raises again
            await connection.send_error(LaunchError(str(error)))
        except Exception as error:
            self._on_fault(traceback.format_exc())
            await connection.send_error(LaunchError(f"a fault in CP: {error!r}; its log has more"))


def _listen_in(directory: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        with socket_path(directory) as path:
            sock.bind(path)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock
