"""Terminals whose screen and keyboard are a program: /dev/ptmx and its /dev/pts/N (drivers/tty/pty.c)."""

from collections.abc import Callable
from errno import EAGAIN, EINVAL, EIO, ENOSPC, ENOTTY
from typing import Final, Protocol

from dcss.errors import KernelError
from vmguest.fs.devices import CharacterDevice
from vmguest.fs.devpts import MAJOR
from vmguest.fs.file import StreamFile, UserMemory
from vmguest.fs.ioctls import FIONREAD, INT
from vmguest.fs.poll import POLLHUP, READABLE, WRITABLE
from vmguest.kernel import Kernel
from vmguest.terminal import Terminal
from vmguest.tty import termios
from vmguest.tty.file import PIECE_BYTES, TerminalFile
from vmguest.tty.jobs import Jobs
from vmguest.tty.line_discipline import SIGINT, SIGQUIT, SIGTSTP
from vmguest.tty.output import TAB_COLUMNS

PTMX: Final = (5, 2)
ROOM_BYTES: Final = 8192  # in each direction (tty_buffer_set_limit)
MOST_TERMINALS: Final = 1024  # a guest's pseudo terminals (kernel.pty.max - kernel.pty.reserve: 3072 on Linux)
_MOST_SHOWN_BYTES: Final = ROOM_BYTES + TAB_COLUMNS * PIECE_BYTES  # a piece of tabs finds room
_PACKET_DATA: Final = b"\0"  # what data begins with in packet mode (TIOCPKT_DATA)
_SIGNALS: Final = frozenset({SIGINT, SIGQUIT, SIGTSTP})  # what TIOCSIG sends


class TerminalJobs(Jobs, Protocol):
    """The processes of a guest, and which terminals know them."""

    def add(self, terminal: Terminal) -> None:
        """Have a terminal know the processes."""
        ...

    def remove(self, terminal: Terminal) -> None:
        """Forget a terminal that is no more."""
        ...


class PseudoTerminal(Terminal):
    """The side that programs have as their terminal; what they write waits in `shown` for the other side."""

    def __init__(self, signal_group: Callable[[int, int], None]) -> None:
        self.shown = bytearray()
        self.locked = True
        self.was_open = False
        super().__init__(self._keep, signal_group, has_room=lambda: len(self.shown) < ROOM_BYTES)

    def file(self) -> TerminalFile:
        """Open it, as its node in /dev does. Raises KernelError(EIO) before it was unlocked, and after its end."""
        if self.locked or self.hung_up:
            raise KernelError(EIO, "pseudo terminal: is locked, or its other side is closed")
        self.was_open = True
        return super().file()

    def _keep(self, data: bytes) -> None:
        """Keep what is shown, without echoes for which there is no room any more."""
        self.shown += data[: max(0, _MOST_SHOWN_BYTES - len(self.shown))]

    @property
    def is_left(self) -> bool:
        """Whether programs had it open, and have no more."""
        return self.was_open and not self.opens


class MasterFile(StreamFile):
    """An open of /dev/ptmx: what a program writes there is typed, and what it reads is what the screen shows."""

    def __init__(self, kernel: Kernel, jobs: TerminalJobs, signal_group: Callable[[int, int], None]) -> None:
        self._vfs = kernel.vfs
        self._jobs = jobs
        self._terminal = PseudoTerminal(signal_group)
        self._packets = False
        self._reads = self._refusals = 0
        self._number = self._terminal.register(kernel.vfs)
        jobs.add(self._terminal)

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Take what is shown. Raises KernelError: EAGAIN nothing is, EIO nobody has the terminal open any more."""
        shown = self._terminal.shown
        if not buffer:
            return 0
        if not shown:
            if self._terminal.is_left:
                raise KernelError(EIO, "nobody has the pseudo terminal open")
            raise KernelError(EAGAIN, "the pseudo terminal shows nothing new")
        head = _PACKET_DATA if self._packets else b""
        data = head + shown[: len(buffer) - len(head)]
        buffer[: len(data)] = data
        del shown[: len(data) - len(head)]
        self._reads += 1
        return len(data)

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Type bytes; return for how many there was room. Raises KernelError(EAGAIN) for none."""
        room_bytes = ROOM_BYTES - self._terminal.discipline.held_bytes
        if data and room_bytes <= 0:
            self._refusals += 1
            raise KernelError(EAGAIN, "nobody reads what was typed")
        typed = bytes(data[:room_bytes])
        self._terminal.input(typed)
        return len(typed)

    def poll(self) -> int:
        """Return what can be done, and whether nobody has the terminal open any more."""
        terminal = self._terminal
        readable = READABLE if terminal.shown else 0
        writable = WRITABLE if terminal.discipline.held_bytes < ROOM_BYTES else 0
        return readable | writable | (POLLHUP if terminal.is_left else 0)

    def activity(self) -> object:
        """Return how often something was read, what is there, and how often a write had to wait."""
        return self._reads, len(self._terminal.shown), self._refusals

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Do what this side alone can, and what is asked of the terminal itself. Raises KernelError: ENOTTY, EINVAL."""
        terminal = self._terminal
        if request == termios.TIOCSPTLCK:
            terminal.locked = bool(_int(memory, argument))
        elif request == termios.TIOCPKT:
            self._packets = bool(_int(memory, argument))
        elif request == termios.TIOCSIG:
            if argument not in _SIGNALS:
                raise KernelError(EINVAL, f"TIOCSIG of signal {argument}: wanted SIGINT, SIGQUIT or SIGTSTP")
            terminal.job.signal_foreground(argument)
        elif request == termios.TCFLSH:
            self._flush(argument)
        elif (answer := self._answer(request)) is not None:
            memory.write(argument, INT.pack(answer))
        else:
            return TerminalFile(terminal).ioctl(request, argument, memory)
        return 0

    def close(self) -> None:
        """Hang the terminal up."""
        self._terminal.remove(self._vfs)
        self._jobs.remove(self._terminal)

    def _answer(self, request: int) -> int | None:
        """Return the number that a request asks for, None where it is none of this side."""
        terminal = self._terminal
        if request == termios.TIOCGSID and not terminal.job.session_id:
            raise KernelError(ENOTTY, "the pseudo terminal controls no session")
        answers = {
            termios.TIOCGPTN: self._number,
            termios.TIOCGPTLCK: int(terminal.locked),
            termios.TIOCGPKT: int(self._packets),
            termios.TIOCGPGRP: terminal.job.foreground_id,
            termios.TIOCGSID: terminal.job.session_id,
            FIONREAD: len(terminal.shown),
        }
        return answers.get(request)

    def _flush(self, which: int) -> None:
        if which not in {termios.TCIFLUSH, termios.TCOFLUSH, termios.TCIOFLUSH}:
            raise KernelError(EINVAL, f"TCFLSH {which}: wanted 0 to 2")
        if which != termios.TCOFLUSH:
            self._terminal.shown.clear()
        if which != termios.TCIFLUSH:
            self._terminal.discipline.flush_input()


def add_pseudo_terminals(kernel: Kernel, jobs: TerminalJobs, signal_group: Callable[[int, int], None]) -> None:
    """Give a guest /dev/ptmx; `signal_group(group, number)` sends the signals of keys."""

    def opened() -> MasterFile:
        if sum(device.number[0] == MAJOR for device in kernel.devices.characters) >= MOST_TERMINALS:
            raise KernelError(ENOSPC, f"/dev/ptmx: {MOST_TERMINALS} terminals are open")
        return MasterFile(kernel, jobs, signal_group)

    kernel.devices.register_chrdev(CharacterDevice(b"ptmx", PTMX, opened))


def _int(memory: UserMemory, address: int) -> int:
    """Read an int of a program."""
    return int(INT.unpack(memory.read(address, INT.size))[0])
