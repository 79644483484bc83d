"""The host's end of the console of a guest that runs programs; dcss.abi.programs describes its packets."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from dcss.abi import programs
from dcss.abi.programs import ProgramPacket, ProgramRequest, head_of
from dcss.engines.base import EventSource, ExecOptions, OutputSink
from dcss.engines.forked.console import GuestConsole
from dcss.errors import ConfigError, LaunchError
from dcss.host.aio import start_task
from dcss.host.process import how_ended

_STREAMS = frozenset({programs.OUTPUT, programs.ERRORS, programs.DEBUGGER})
_KINDS = _STREAMS | {programs.EXIT, programs.INPUT_TAKEN}
_MAX_OUTGOING = 32  # packets; while as many wait for the guest to read them, clients wait
_SIGNAL_BASE = 128  # a shell's status of a command that a signal ended


class _Program:
    """A program that runs in the guest: the packets that nobody has taken yet, and how many bytes those are.

    A ConfigError among them is what its client did wrong.
    """

    def __init__(self) -> None:
        self.packets: asyncio.Queue[ProgramPacket | ConfigError] = asyncio.Queue()
        self.waiting_bytes = 0
        self.left = False  # nobody takes any more


class ProgramConsole(GuestConsole):
    """Runs any number of programs in one guest, and passes on what they read and write."""

    def __init__(self, guest: str, sock: socket.socket, on_fault: Callable[[], None]) -> None:
        super().__init__(guest, sock, on_fault)
        self._programs: dict[int, _Program] = {}
        self._last_number = 0
        self._outgoing: deque[bytes] = deque()
        self._ended = False
        self._room = asyncio.Event()  # for what clients say
        self._room.set()

    async def exec(self, words: Sequence[str], output: OutputSink, options: ExecOptions | None = None) -> int:
        """Run a program and return its status; cancel it if this is cancelled, or `output` fails.

        Raises LaunchError where it cannot be sent.
        """
        if self._ended:
            raise LaunchError(f"guest {self._guest}: it has ended")
        options = options or ExecOptions()
        request = ProgramRequest(
            tuple(map(os.fsencode, words)),
            tuple(map(os.fsencode, options.environment)),
            os.fsencode(options.directory),
            has_input=options.has_input,
            terminal=options.terminal,
            strace=options.strace,
            gdb=options.debugger is not None,
        )
        try:
            data = request.pack()
        except ValueError as error:
            raise LaunchError(f"guest {self._guest}: {error}") from error
        self._last_number += 1
        number, program = self._last_number, _Program()
        self._programs[number] = program
        self._post(head_of(programs.RUN, number) + data)
        forward = None
        if options.events is not None:
            forward = start_task(self._forward(number, program, options.events), f"input of {self._guest}")
        try:
            return await self._follow(number, program, output, options)
        except BaseException:
            program.left = True
            if number in self._programs:
                self._post(head_of(programs.CANCEL, number))
            raise
        finally:
            if forward is not None:
                forward.cancel()

    def end(self, status: int) -> None:
        """Read what is left after the guest's process has ended with `status`, and end what waits for an answer."""
        self._ended = True
        if self._outgoing:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
            self._outgoing.clear()
        super().end(status)
        line = f"guest {self._guest}: {how_ended(status)} before its program did\n".encode()
        code = programs.STATUS.pack(_SIGNAL_BASE - status if status < 0 else status)
        for number, program in self._programs.items():
            program.packets.put_nowait(ProgramPacket(programs.ERRORS, number, line))
            program.packets.put_nowait(ProgramPacket(programs.EXIT, number, code))
        self._programs.clear()

    async def _follow(self, number: int, program: _Program, output: OutputSink, options: ExecOptions) -> int:
        taken_bytes = 0
        while True:
            packet = await program.packets.get()
            if isinstance(packet, ConfigError):
                raise packet
            match packet.kind:
                case programs.EXIT:
                    return int(programs.STATUS.unpack(packet.data)[0])
                case programs.INPUT_TAKEN:
                    if options.input_taken is not None:
                        await options.input_taken(int(programs.COUNT.unpack(packet.data)[0]))
                case _:
                    if packet.kind == programs.DEBUGGER and options.debugger is not None:
                        await options.debugger(packet.data)
                    else:
                        await output(packet.kind == programs.ERRORS, packet.data)
                    program.waiting_bytes -= len(packet.data)
                    taken_bytes += len(packet.data)
                    if taken_bytes >= programs.TAKEN_BYTES:
                        self._post(head_of(programs.OUTPUT_TAKEN, number) + programs.COUNT.pack(taken_bytes))
                        taken_bytes = 0

    async def _forward(self, number: int, program: _Program, events: EventSource) -> None:
        """Pass on what the client says, for as long as its program runs."""
        while True:
            await self._room.wait()
            try:
                event = await events()
            except ConfigError as error:
                program.packets.put_nowait(error)
                return
            for piece in programs.pieces(event.data) or [b""]:
                self._post(head_of(event.kind, number) + piece)

    def _post(self, packet: bytes) -> None:
        """Send a packet, now or as soon as the guest takes it."""
        if self._ended:
            return
        self._outgoing.append(packet)
        if len(self._outgoing) >= _MAX_OUTGOING:
            self._room.clear()
        if len(self._outgoing) == 1:
            self._flush()
            if self._outgoing:
                asyncio.get_running_loop().add_writer(self._socket.fileno(), self._flush_rest)

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            while self._outgoing:
                with suppress(ConnectionError):  # it has ended, which is reported by its process
                    self._socket.send(self._outgoing[0], socket.MSG_NOSIGNAL)
                self._outgoing.popleft()
        if len(self._outgoing) < _MAX_OUTGOING:
            self._room.set()

    def _flush_rest(self) -> None:
        self._flush()
        if not self._outgoing:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())

    def _dispatch(self, kind: bytes, data: bytes) -> None:
        """Take one packet. Raises ValueError for one that no guest of ours sends, or not now."""
        if kind not in _KINDS:
            super()._dispatch(kind, data)
            return
        packet = ProgramPacket.unpack(kind + data)
        program = self._programs.get(packet.number)
        if program is None:
            raise ValueError(f"packet of kind {kind!r} about program {packet.number}: none of that number runs")
        if packet.kind in _STREAMS:
            program.waiting_bytes += len(packet.data)
            if program.waiting_bytes > programs.WINDOW_BYTES and not program.left:
                raise ValueError(
                    f"{program.waiting_bytes} bytes of output wait: wanted at most {programs.WINDOW_BYTES}"
                )
        elif len(packet.data) != (programs.STATUS if packet.kind == programs.EXIT else programs.COUNT).size:
            raise ValueError(f"packet of kind {kind!r}: found {len(packet.data)} bytes of data")
        if packet.kind == programs.EXIT:
            del self._programs[packet.number]
        if not program.left:
            program.packets.put_nowait(packet)
