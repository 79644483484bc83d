"""The host's end of a guest's console, whose packets dcss.abi.console describes."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from dcss.abi import console
from dcss.abi.console import Counters, FileAccess, Start, Verdict
from dcss.abi.timings import Span, unpack_spans
from dcss.engines.base import ExecOptions, OutputSink
from dcss.errors import ConfigError, LaunchError
from dcss.host.process import how_ended

_SIGNAL_BASE = 128  # a shell's status of a command that a signal ended
_MAX_QUEUED = 4  # packets of output that wait to be taken; no more are read meanwhile, so that the command waits


class _Command:
    """A command that runs in the guest: the packets that nobody has taken yet. Nobody takes any once it is `left`."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
        self.left = False


class GuestConsole:
    """Sends requests to one guest and reads what it sends. `on_fault` is called if that is nothing a guest sends.

    `access` is what the guest says of how files of its mounts are reached, `boot` of how it was started, if it does,
    and `spans` of where that went, if it was asked.
    """

    def __init__(self, guest: str, sock: socket.socket, on_fault: Callable[[], None]) -> None:
        self._guest, self._socket, self._on_fault = guest, sock, on_fault
        self.access: tuple[FileAccess, ...] = ()
        self.boot: Start | None = None
        self.spans: list[Span] = []
        self._verdict: asyncio.Future[Verdict | None] = asyncio.get_running_loop().create_future()
        self._counters: asyncio.Future[Counters | None] | None = None  # the answer that is awaited
        self._command: _Command | None = None
        self._reading = False
        self._cancel_waits = False  # for room in the socket's buffer
        sock.setblocking(False)

    def start(self) -> None:
        """Read what the guest sends from now on."""
        if not self._reading and self._socket.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
            self._reading = True

    async def verdict(self) -> Verdict | None:
        """Wait until the guest's `run:` list has ended; None where the guest ended before that."""
        return await asyncio.shield(self._verdict)

    async def exec(self, words: Sequence[str], output: OutputSink, options: ExecOptions | None = None) -> int:
        """Run a command in the guest's shell and return its status; cancel it if this is cancelled, or `output` fails.

        Raises LaunchError where another command is running, or this one cannot be sent; ConfigError for any options.
        """
        if options is not None:
            raise ConfigError(
                f"guest {self._guest}: found input, variables, a directory, a terminal or strace for a program, wanted"
                " none of them: it has a shell of its own and runs no programs; guests of engines s390x and linux do"
            )
        self._check_idle()
        try:
            packet = console.pack_exec([os.fsencode(word) for word in words])
        except ValueError as error:
            raise LaunchError(f"guest {self._guest}: {error}") from error
        self._send(packet)
        command = self._command = _Command()
        try:
            while True:
                kind, data = await command.packets.get()
                if kind == console.STATUS:
                    return int(console.EXIT_STATUS.unpack(data)[0])
                await output(kind == console.STDERR, data)
                if command.packets.empty():
                    self.start()
        except BaseException:
            self._leave(command)
            raise

    async def counters(self) -> Counters | None:
        """Return the guest's counters; None where it ends before it answers. Raises LaunchError: it cannot be asked."""
        self._check_idle()
        if self._counters is None:
            self._send(console.COUNTERS_REQUEST)
            self._counters = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._counters)

    def hang_up(self) -> bool:
        """Send nothing any more, so that a guest that waits for a request shuts down; return False if it is busy."""
        verdict = self._verdict.result() if self._verdict.done() else None
        if verdict is None or verdict.exit_status or self._command is not None or self._counters is not None:
            return False
        with suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_WR)
        return True

    def end(self, status: int) -> None:
        """Read what is left after the guest's process has ended with `status`, and end what waits for an answer."""
        self._pause()
        self._drop_cancel()
        while self._has_packet():
            self._read()
        self._on_fault = _leave_as_it_is  # so that nothing refers back to whose guest it is
        self._socket.close()
        if not self._verdict.done():
            self._verdict.set_result(None)
        if self._command is not None:
            line = f"guest {self._guest}: {how_ended(status)} before its command did\n"
            self._command.packets.put_nowait((console.STDERR, line.encode()))
            self._finish(console.EXIT_STATUS.pack(_SIGNAL_BASE - status if status < 0 else status))
        self._set_counters(None)

    def _check_idle(self) -> None:
        if self._command is not None:
            raise LaunchError(f"guest {self._guest}: a command is under way; wait for its end")

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet, socket.MSG_NOSIGNAL)
        except OSError as error:
            raise LaunchError(f"guest {self._guest}: its console takes nothing: {error}") from error

    def _leave(self, command: _Command) -> None:
        """Have a command end for which nobody waits any more, and discard what it writes."""
        command.left = True
        if self._command is command:
            self._send_cancel()
            self.start()

    def _send_cancel(self) -> None:
        """Have the guest cancel its command, now or once the socket's buffer has room for the request."""
        try:
            self._socket.send(console.CANCEL_REQUEST, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            if not self._cancel_waits:
                asyncio.get_running_loop().add_writer(self._socket.fileno(), self._send_cancel)
                self._cancel_waits = True
            return
        except OSError:
            pass  # the guest has ended, and its command with it
        self._drop_cancel()

    def _drop_cancel(self) -> None:
        """Send no cancel any more: it is sent, or its command has ended and the next one must not be cancelled."""
        if self._cancel_waits:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
            self._cancel_waits = False

    def _pause(self) -> None:
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._reading = False

    def _has_packet(self) -> bool:
        for _ in range(2):  # a guest that ends with a request unread resets the connection: the first try gets that
            with suppress(OSError):
                return bool(self._socket.recv(1, socket.MSG_PEEK))
        return False

    def _read(self) -> None:
        """Read one packet. A wrong one ends the guest."""
        try:
            packet = self._socket.recv(console.PACKET_BYTES + 1)
        except (BlockingIOError, ConnectionResetError):
            return  # after a reset comes what the guest sent before
        except OSError:
            packet = b""
        if not packet:
            self._pause()
            return
        try:
            self._dispatch(packet[:1], packet[1:])
        except ValueError:
            self._on_fault()

    def _dispatch(self, kind: bytes, data: bytes) -> None:
        """Take one packet. Raises ValueError for one that no guest of ours sends, or not now."""
        if kind == console.VERDICT and not self._verdict.done():
            self._verdict.set_result(Verdict.unpack(data))
        elif kind == console.ACCESS and not self._verdict.done():
            self.access = console.unpack_access(data)
        elif kind == console.START and not self._verdict.done():
            self.boot = Start.unpack(data)
        elif kind == console.TIMINGS and not self._verdict.done():
            self.spans += unpack_spans(data)
        elif kind == console.COUNTERS:
            self._set_counters(Counters.unpack(data))
        elif self._command is None:
            raise ValueError(f"packet of kind {kind!r}: nothing was asked for")
        elif kind == console.STATUS and len(data) == console.EXIT_STATUS.size:
            self._finish(data)
        elif kind in {console.STDOUT, console.STDERR}:
            self._take_output(self._command, kind, data)
        else:
            raise ValueError(f"packet of kind {kind!r} and {len(data)} bytes: unknown")

    def _take_output(self, command: _Command, kind: bytes, data: bytes) -> None:
        if command.left:
            return
        command.packets.put_nowait((kind, data))
        if command.packets.qsize() >= _MAX_QUEUED:
            self._pause()

    def _finish(self, status: bytes) -> None:
        self._drop_cancel()
        command, self._command = self._command, None
        if command is not None:
            command.packets.put_nowait((console.STATUS, status))

    def _set_counters(self, counters: Counters | None) -> None:
        awaited, self._counters = self._counters, None
        if awaited is not None and not awaited.done():
            awaited.set_result(counters)


def _leave_as_it_is() -> None:
    """Do nothing about a fault of a guest that has ended."""
