"""CP's end of the control socket: takes clients of its own user, a bounded number of them, and their requests."""

import os
import socket
from collections.abc import Callable, Mapping
from errno import EMFILE, ENFILE
from pathlib import Path

from dcss.errors import ConfigError
from dcss.rpc.address import peer_of, socket_path
from dcss.rpc.connection import ClientConnection
from dcss.rpc.loop import Loop
from dcss.rpc.protocol import Arguments, Request

MAX_CLIENTS = 64
_BACKLOG = 64

Handler = Callable[[ClientConnection, Arguments], None]


class ControlServer:
    """The control socket in `directory`, which must be private. `handlers` answer requests, by name.

    `fault` is told the traceback of what a handler raises that is no DcssError: a fault of ours, which must not end CP.
    """

    def __init__(
        self, loop: Loop, directory: Path, handlers: Mapping[str, Handler], fault: Callable[[str], None]
    ) -> None:
        self._loop, self._handlers, self._fault = loop, handlers, fault
        self._clients: set[ClientConnection] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            with socket_path(directory) as path:
                self._socket.bind(path)
        except BaseException:
            self._socket.close()
            raise
        finally:
            os.umask(before)
        self._socket.listen(_BACKLOG)
        loop.watch(self._socket, self._accept)

    def close(self) -> None:
        """Close the socket and every connection. The name goes with the directory."""
        self._loop.forget(self._socket)
        self._socket.close()
        for client in list(self._clients):
            client.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in {EMFILE, ENFILE}:
                raise
            # The client stays in the queue, and the socket readable: look again when others may have left.
            self._loop.forget(self._socket)
            self._loop.after(1.0, lambda: self._loop.watch(self._socket, self._accept))
            return
        if peer_of(sock).uid not in {0, os.geteuid()} or len(self._clients) >= MAX_CLIENTS:
            sock.close()
            return
        self._clients.add(
            ClientConnection(sock, self._loop, dispatch=self._dispatch, closed=self._clients.discard, fault=self._fault)
        )

    def _dispatch(self, connection: ClientConnection, request: Request) -> None:
        handler = self._handlers.get(request.name)
        if handler is None:
            raise ConfigError(f"request: found {request.name!r}, wanted one of {', '.join(self._handlers)}")
        handler(connection, request.arguments)
