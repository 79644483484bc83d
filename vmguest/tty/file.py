"""An open terminal: reads with what they wait for, writes, and requests (drivers/tty/tty_io.c and tty_ioctl.c)."""

from collections.abc import Callable
from errno import EAGAIN, EINVAL, EIO, ENOTTY
from typing import Final, Protocol

from dcss.errors import KernelError
from vmguest.fs.file import StreamFile, UserMemory
from vmguest.fs.ioctls import FIONREAD, INT
from vmguest.fs.poll import POLLERR, POLLHUP, READABLE, WRITABLE
from vmguest.tty import termios
from vmguest.tty.jobs import SIGTTIN, SIGTTOU, JobControl
from vmguest.tty.line_discipline import LineDiscipline
from vmguest.tty.termios import ICANON, TOSTOP, Termios, WindowSize

PIECE_BYTES: Final = 4096  # of a write, before it is asked again whether there is room
_STALE_SECONDS: Final = 1.0  # a read that was given up this long ago does not count any more
_SETS = frozenset({termios.TCSETS, termios.TCSETSW, termios.TCSETSF})
_SETS2 = frozenset({termios.TCSETS2, termios.TCSETSW2, termios.TCSETSF2})
_FLUSHING = frozenset({termios.TCSETSF, termios.TCSETSF2})
_WITHOUT_EFFECT = frozenset({termios.TCSBRK, termios.TCSBRKP, termios.TIOCEXCL, termios.TIOCNXCL})


class TerminalSide(Protocol):
    """A terminal, as its open files see it."""

    job: JobControl
    discipline: LineDiscipline
    clock: Callable[[], float]
    last_input_seconds: float
    inputs: int
    hung_up: bool
    size: WindowSize

    @property
    def takes_output(self) -> bool:
        """Whether programs can write now."""
        ...

    def show(self, data: bytes) -> None:
        """Show what a program writes."""
        ...

    def ready_bytes(self) -> int:
        """Return how much can be read at once."""
        ...

    def resize(self, rows: int, columns: int, width_pixels: int = 0, height_pixels: int = 0) -> None:
        """Change the size of the window."""
        ...

    def closed(self) -> None:
        """Count one open less."""
        ...


class TerminalFile(StreamFile):
    """One open of a terminal."""

    __slots__ = ("_deadline", "_refusals", "terminal")

    def __init__(self, terminal: TerminalSide) -> None:
        self.terminal = terminal
        self._deadline: float | None = None  # of a read that waits for a limited time
        self._refusals = 0  # of writes

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Read a line, or what VMIN and VTIME ask for. Raises KernelError: EAGAIN, EIO in the background."""
        terminal, discipline = self.terminal, self.terminal.discipline
        terminal.job.check_change(SIGTTIN)
        if terminal.hung_up or not buffer:
            return 0
        available = discipline.available_bytes()
        minimum, seconds = discipline.minimum_and_time()
        if available < min(max(minimum, 1), len(buffer)):
            canonical = discipline.settings.lflag & ICANON
            if canonical or not self._time_is_over(available, minimum, seconds):
                raise KernelError(EAGAIN, f"the terminal has {available} bytes")
        self._deadline = None
        data = discipline.read(len(buffer)) if available else b""
        buffer[: len(data)] = data
        return len(data)

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Show bytes. Raises KernelError: EAGAIN output is held back, EIO somebody hung up."""
        if self.terminal.hung_up:
            raise KernelError(EIO, "the terminal was hung up")
        if self.terminal.discipline.settings.lflag & TOSTOP:
            self.terminal.job.check_change(SIGTTOU)
        if not self.terminal.takes_output:
            self._refusals += 1
            raise KernelError(EAGAIN, "the terminal's output is held back")
        piece = bytes(data[:PIECE_BYTES])
        self.terminal.show(piece)
        return len(piece)

    def poll(self) -> int:
        """Return what can be done."""
        if self.terminal.hung_up:
            return READABLE | WRITABLE | POLLERR | POLLHUP
        readable = READABLE if self.terminal.ready_bytes() else 0
        return readable | (WRITABLE if self.terminal.takes_output else 0)

    def alarm_seconds(self) -> float | None:
        """Return in how many seconds a read with VTIME ends without more being typed."""
        return None if self._deadline is None else max(0.0, self._deadline - self.terminal.clock())

    def activity(self) -> object:
        """Return how often something was typed, and how often a write had to wait."""
        return self.terminal.inputs, self._refusals

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Do a terminal's requests. Raises KernelError: ENOTTY, EINVAL, EIO, EAGAIN in the background."""
        terminal = self.terminal
        if terminal.hung_up:
            raise KernelError(EIO, "the terminal was hung up")
        if request in _SETS or request in _SETS2:
            self._set(request, argument, memory)
        elif request == termios.TIOCSPGRP:
            terminal.job.set_foreground(INT.unpack(memory.read(argument, INT.size))[0])
        elif request == termios.TIOCSWINSZ:
            terminal.resize(*WindowSize.unpack(memory.read(argument, termios.WINDOW_SIZE.size)))
        elif request == termios.TIOCSCTTY:
            terminal.job.take_caller()
        elif request == termios.TIOCNOTTY:
            terminal.job.leave()
        elif request == termios.TCFLSH:
            self._flush(argument)
        elif request == termios.TCXONC:
            self._hold(argument)
        elif request not in _WITHOUT_EFFECT:
            memory.write(argument, self._answer(request))
        return 0

    def close(self) -> None:
        """End one open; the terminal stays while somebody types."""
        self.terminal.closed()

    def _answer(self, request: int) -> bytes:
        """Return what a request asks for."""
        terminal, settings = self.terminal, self.terminal.discipline.settings
        answers: dict[int, Callable[[], bytes]] = {
            termios.TCGETS: settings.pack,
            termios.TCGETS2: settings.pack2,
            termios.TIOCGWINSZ: terminal.size.pack,
            termios.TIOCGPGRP: lambda: INT.pack(terminal.job.foreground()),
            termios.TIOCGSID: lambda: INT.pack(terminal.job.session()),
            termios.TIOCOUTQ: lambda: INT.pack(0),
            termios.TIOCGETD: lambda: INT.pack(0),
            FIONREAD: lambda: INT.pack(terminal.discipline.readable_bytes()),
        }
        answer = answers.get(request)
        if answer is None:
            raise KernelError(ENOTTY, f"ioctl {request:#x}: no request of terminals")
        return answer()

    def _set(self, request: int, argument: int, memory: UserMemory) -> None:
        self.terminal.job.check_change(SIGTTOU)
        size_bytes = termios.TERMIOS.size + (termios.SPEEDS.size if request in _SETS2 else 0)
        settings = Termios.unpack(memory.read(argument, size_bytes))
        if request in _FLUSHING:
            self.terminal.discipline.flush_input()
        self.terminal.discipline.change_settings(settings)

    def _flush(self, which: int) -> None:
        self.terminal.job.check_change(SIGTTOU)
        if which not in {termios.TCIFLUSH, termios.TCOFLUSH, termios.TCIOFLUSH}:
            raise KernelError(EINVAL, f"TCFLSH {which}: wanted 0 to 2")
        if which != termios.TCOFLUSH:
            self.terminal.discipline.flush_input()

    def _hold(self, action: int) -> None:
        self.terminal.job.check_change(SIGTTOU)
        if action == termios.TCOOFF:
            self.terminal.discipline.stop()
        elif action == termios.TCOON:
            self.terminal.discipline.start()
        elif action not in {termios.TCIOFF, termios.TCION}:
            raise KernelError(EINVAL, f"TCXONC {action}: wanted 0 to 3")

    def _time_is_over(self, available: int, minimum: int, seconds: float) -> bool:
        """Return whether a read has waited long enough; VTIME counts from the last byte, or from the read's begin."""
        if minimum:
            if not seconds or not available:
                return False
            self._deadline = self.terminal.last_input_seconds + seconds
        elif not seconds:
            return True
        now = self.terminal.clock()
        if self._deadline is None or now > self._deadline + _STALE_SECONDS:
            self._deadline = now + seconds
        return now >= self._deadline
