"""One client of the control socket, as CP sees it: never waited for, never trusted, never kept for ever."""

import socket
import traceback
from collections.abc import Callable

from dcss.errors import ConfigError, DcssError, LaunchError
from dcss.rpc.loop import READ, WRITE, Loop, Timer
from dcss.rpc.protocol import LINE_END, MAX_REQUEST_BYTES, Arguments, Output, Request, error_line, result_line

_READ_BYTES = 1 << 16
REQUEST_SECONDS = 10.0  # in which a request must have come whole
STALL_SECONDS = 30.0  # for so long a client may take nothing of what it is sent
CONGESTED_BYTES = 1 << 18  # whoever sends a stream should pause when so much waits


class ClientConnection:
    """One request and its answer. `dispatch` gets the request; `closed` is called once, when all is over.

    Set `drained` to be told once that all that waited to be sent has been, or that the client has gone, and `gone` to
    be told once that it has gone before it had its answer.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        *,
        dispatch: Callable[["ClientConnection", Request], None],
        closed: Callable[["ClientConnection"], None],
        fault: Callable[[str], None],
    ) -> None:
        self.drained: Callable[[], None] | None = None
        self.gone: Callable[[], None] | None = None
        self._socket, self._loop, self._dispatch, self._closed = sock, loop, dispatch, closed
        self._fault = fault
        self._received = bytearray()
        self._pending = bytearray()
        self._requested = self._finished = False
        sock.setblocking(False)
        self._timer: Timer | None = loop.after(REQUEST_SECONDS, self.close)
        loop.watch(sock, self._serve)

    @property
    def congested(self) -> bool:
        """So much waits to be sent that a stream should pause until `drained`."""
        return len(self._pending) > CONGESTED_BYTES

    @property
    def open(self) -> bool:
        """The client can still be told something."""
        return self._socket.fileno() >= 0 and not self._finished

    def output(self, output: Output) -> None:
        """Send a piece of a stream."""
        self._send(output.pack())

    def finish(self, result: Arguments) -> None:
        """Send the result and close when it has been taken."""
        self._finish(result_line(result))

    def fail(self, error: DcssError) -> None:
        """Send an error and close when it has been taken."""
        self._finish(error_line(error))

    def attempt(self, action: Callable[[], None]) -> None:
        """Do what the client asked for, unless it has gone; what goes wrong is told to it, and never ends CP."""
        if not self.open:
            return
        try:
            action()
        except DcssError as error:
            self.fail(error)
        except OSError as error:
            self.fail(LaunchError(str(error)))
        except Exception as error:  # a fault of ours
            self._fault(traceback.format_exc())
            self.fail(LaunchError(f"a fault in CP: {error!r}; its log has more"))

    def close(self) -> None:
        """End it, whatever was still to be said. May be called twice."""
        if self._socket.fileno() < 0:
            return
        self._set_timer(None)
        self._loop.forget(self._socket)
        self._socket.close()
        self._pending.clear()
        drained, self.drained = self.drained, None
        if drained is not None:
            drained()
        gone, self.gone = self.gone, None
        if gone is not None and not self._finished:
            gone()
        self._closed(self)

    def _finish(self, line: bytes) -> None:
        if self.open:
            self._finished = True
            self._send(line)

    def _send(self, line: bytes) -> None:
        if self._socket.fileno() >= 0:
            self._pending += line
            self._flush()

    def _serve(self) -> None:
        if self._pending:
            self._flush()
        if self._socket.fileno() >= 0:
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif not self._requested:  # whatever follows the request is not heard
            self._received += data
            self._take_request()

    def _take_request(self) -> None:
        line, end, _ = self._received.partition(LINE_END)
        if not end and len(line) <= MAX_REQUEST_BYTES:
            return
        self._requested = True
        self._received = bytearray()
        self._set_timer(None)
        self.attempt(lambda: self._answer(bytes(line)))

    def _answer(self, line: bytes) -> None:
        if len(line) > MAX_REQUEST_BYTES:
            raise ConfigError(f"request: found more than {MAX_REQUEST_BYTES} bytes in one line, wanted fewer")
        self._dispatch(self, Request.unpack(line))

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._pending, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._pending[:sent]
        if self._pending:
            if sent or self._timer is None:
                self._set_timer(self._loop.after(STALL_SECONDS, self.close))
            self._loop.watch(self._socket, self._serve, READ | WRITE)
            return
        self._set_timer(None)
        self._loop.watch(self._socket, self._serve, READ)
        drained, self.drained = self.drained, None
        if drained is not None:
            drained()
        if self._finished:
            self.close()

    def _set_timer(self, timer: Timer | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer
