"""The console of a guest that runs programs: what the host asks for, and what becomes of it (dcss.abi.programs)."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from socket import MSG_NOSIGNAL, socket

from dcss.abi import programs as abi
from dcss.abi.console import COUNTERS, COUNTERS_REQUEST, PACKET_BYTES
from dcss.abi.programs import ProgramPacket, ProgramRequest
from dcss.errors import KernelError
from vmguest.kernel import Kernel
from vmguest.s390x.client import Client
from vmguest.s390x.programs import NO_EVENTS, Programs


class HostConsole:
    """Starts programs for the host. `at_pauses` is called whenever programs pause."""

    def __init__(self, kernel: Kernel, programs: Programs, console: socket, at_pauses: Callable[[], object]) -> None:
        self._kernel, self._programs, self._console, self._at_pauses = kernel, programs, console, at_pauses
        self._clients: dict[int, Client] = {}
        self._received: deque[bytes] = deque()  # while one program could not go on
        self._closed = False  # by the host: the guest is taken down

    def serve(self, more_events: Mapping[int, Callable[[], None]] = NO_EVENTS) -> None:
        """Run programs until the host closes its side; see `Programs.run` for `more_events`."""
        with suppress(ConnectionError):  # taken down while the guest wrote
            self._programs.run(self._settle, {self._console.fileno(): self._receive, **more_events})

    def _settle(self) -> bool:
        """Send what has come to be sent since the last time; return whether the guest is taken down."""
        self._at_pauses()
        while self._received:
            self._dispatch(self._received.popleft())
        for number in [number for number, client in self._clients.items() if client.settle()]:
            del self._clients[number]
        return self._closed

    def _receive(self) -> None:
        packet = self._console.recv(PACKET_BYTES)
        if packet:
            self._dispatch(packet)
        else:
            self._closed = True

    def _wait(self) -> None:
        """Wait until the host has said something, which may be that it has taken output; keep the rest for later."""
        packet = self._console.recv(PACKET_BYTES)
        if not packet:
            raise ConnectionResetError("the host has closed the console")
        if packet.startswith(abi.OUTPUT_TAKEN):
            self._dispatch(packet)
        else:
            self._received.append(packet)

    def _dispatch(self, packet: bytes) -> None:
        if packet == COUNTERS_REQUEST:
            self._console.send(COUNTERS + self._kernel.counters().pack(), MSG_NOSIGNAL)
            return
        kind, number, data = ProgramPacket.unpack(packet)
        if kind == abi.RUN:
            self._run(number, ProgramRequest.unpack(data))
            return
        client = self._clients.get(number)
        if client is None:
            return  # its program has ended meanwhile
        try:
            self._tell(client, kind, data)
        except ConnectionError:
            raise
        except Exception as error:  # it has to do with this one's terminal or streams
            self._programs.failed(error, client.process)

    def _tell(self, client: Client, kind: bytes, data: bytes) -> None:
        match kind:
            case abi.INPUT:
                client.feed(data)
            case abi.DEBUG:
                client.debug(data)
            case abi.INPUT_END:
                client.end_input()
            case abi.RESIZE:
                client.resize(*abi.SIZE.unpack(data))
            case abi.SIGNAL if client.process is not None:
                self._programs.signal(client.process, *abi.STATUS.unpack(data))
            case abi.OUTPUT_TAKEN:
                client.taken(*abi.COUNT.unpack(data))
            case abi.CANCEL if client.process is not None:
                client.leave()
                self._programs.end(client.process)

    def _run(self, number: int, request: ProgramRequest) -> None:
        client = Client(self._console, number, self._wait)
        try:
            client.start(self._programs, self._kernel.vfs, request)
        except KernelError as error:
            client.fail(request, error)
        else:
            self._clients[number] = client
