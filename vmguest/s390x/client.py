"""One program that runs for somebody at the host: its streams, and what of them is on its way."""

from collections import deque
from collections.abc import Callable
from errno import ENOENT
from functools import partial
from socket import MSG_NOSIGNAL, socket

from dcss.abi import programs as abi
from dcss.abi.programs import ProgramRequest, head_of
from dcss.errors import KernelError
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_RDONLY, O_RDWR, O_WRONLY, FileDescription, open_file
from vmguest.fs.stream import InputFile, OutputFile, open_stream
from vmguest.s390x.debugger import Debugger
from vmguest.s390x.environment import with_defaults
from vmguest.s390x.process import Process
from vmguest.s390x.programs import Command, Programs
from vmguest.terminal import Terminal

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # a shell's statuses


class Client:
    """A program's other end. `wait` waits for the host to take output, where it cannot wait otherwise."""

    def __init__(self, console: socket, number: int, wait: Callable[[], None]) -> None:
        self._console, self._number, self._wait = console, number, wait
        self._input: InputFile | None = None
        self._terminal: Terminal | None = None
        self._remove_terminal: Callable[[], None] | None = None
        self._fed_bytes = 0  # of standard input; the host hears when it was read
        self._unsent: deque[bytes] = deque()  # packets for which the window has no room
        self._room_bytes = abi.WINDOW_BYTES
        self._gone = False
        self._debugger: Debugger | None = None
        self.process: Process | None = None

    def start(self, programs: Programs, vfs: Vfs, request: ProgramRequest) -> None:
        """Start the program. Raises KernelError, and nothing has been started then."""
        command = Command(request.words, with_defaults(request.environment), request.directory)
        files = self._open_terminal(programs, vfs, request) if request.terminal else self._open_streams(vfs, request)
        trace = self._trace if request.strace else None
        try:
            self.process = programs.start(command, files, terminal=self._terminal, trace=trace)
        except KernelError:
            for file in files:
                file.close()
            self._end_terminal()
            raise
        if request.gdb:
            self._debugger = programs.debug(self.process, self._sink(abi.DEBUGGER))

    def fail(self, request: ProgramRequest, error: KernelError) -> None:
        """Tell the host that the program cannot be started, as a shell does."""
        text = b"%s: %s\n" % (request.words[0], (error.strerror or str(error)).encode())
        self._write(abi.ERRORS, text)
        self._send_exit(NOT_FOUND if error.errno == ENOENT else NOT_EXECUTABLE)

    def feed(self, data: bytes) -> None:
        """Give the program standard input."""
        self._fed_bytes += len(data)
        if self._terminal is not None:
            self._terminal.input(data)
        elif self._input is not None:
            self._input.feed(data)

    def end_input(self) -> None:
        """Say that no standard input comes any more. A terminal's goes on: nobody types."""
        if self._terminal is None and self._input is not None:
            self._input.end()

    def debug(self, data: bytes) -> None:
        """Take what gdb says to the program."""
        if self._debugger is not None:
            self._debugger.feed(data)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size."""
        if self._terminal is not None:
            self._terminal.resize(rows, columns)

    def leave(self) -> None:
        """Write nothing to the host any more: nobody is there."""
        self._gone = True
        self._unsent.clear()
        if self._terminal is not None:
            self._terminal.hang_up()

    def taken(self, size_bytes: int) -> None:
        """Note that the host has taken output."""
        self._room_bytes += size_bytes

    def settle(self) -> bool:
        """Send what there is room for; return whether the program has ended and the host has got everything."""
        self._send_waiting()
        self._tell_what_was_read()
        if self.process is None or self.process.exit_status is None or self._unsent:
            return False
        self._end_terminal()
        self._send_exit(self.process.exit_status)
        return True

    def _send_waiting(self) -> None:
        while self._unsent and (size_bytes := len(self._unsent[0]) - abi.HEAD_BYTES) <= self._room_bytes:
            self._room_bytes -= size_bytes
            self._console.send(self._unsent.popleft(), MSG_NOSIGNAL)

    def _tell_what_was_read(self) -> None:
        waiting_bytes = 0 if self._input is None else self._input.waiting_bytes
        read_bytes = self._fed_bytes - waiting_bytes
        if read_bytes >= abi.TAKEN_BYTES or (read_bytes and not waiting_bytes):
            self._fed_bytes -= read_bytes
            self._console.send(head_of(abi.INPUT_TAKEN, self._number) + abi.COUNT.pack(read_bytes), MSG_NOSIGNAL)

    def _open_streams(self, vfs: Vfs, request: ProgramRequest) -> list[FileDescription]:
        if request.has_input:
            self._input = InputFile()
            standard_input = open_stream(vfs, self._input, O_RDONLY)
        else:
            standard_input = open_file(vfs, b"/dev/null", O_RDONLY)
        outputs = [OutputFile(self._sink(kind), self._has_room) for kind in (abi.OUTPUT, abi.ERRORS)]
        return [standard_input, *(open_stream(vfs, output, O_WRONLY) for output in outputs)]

    def _open_terminal(self, programs: Programs, vfs: Vfs, request: ProgramRequest) -> list[FileDescription]:
        assert request.terminal is not None, "it was asked for"
        self._terminal = Terminal(self._sink(abi.OUTPUT), programs.signal_group, has_room=self._has_room)
        terminal = self._terminal
        terminal.resize(*request.terminal)

        self._remove_terminal = partial(programs.remove_terminal, terminal)
        return [terminal.open(vfs, O_RDWR) for _ in range(3)]

    def _end_terminal(self) -> None:
        """Take the terminal out of the guest: who still has it open finds it hung up."""
        if self._remove_terminal is not None:
            self._remove_terminal()
            self._remove_terminal = None

    def _sink(self, kind: bytes) -> Callable[[bytes], None]:
        return lambda data: self._write(kind, data)

    def _has_room(self) -> bool:
        return self._gone or (not self._unsent and self._room_bytes > 0)

    def _trace(self, line: bytes) -> None:
        self._write(abi.ERRORS, line)
        while self._unsent:
            self._wait()
            self._send_waiting()

    def _write(self, kind: bytes, data: bytes) -> None:
        if not self._gone:
            head = head_of(kind, self._number)
            self._unsent.extend(head + piece for piece in abi.pieces(data))
            self._send_waiting()

    def _send_exit(self, status: int) -> None:
        self._console.send(head_of(abi.EXIT, self._number) + abi.STATUS.pack(status), MSG_NOSIGNAL)
