"""What `dcss exec -i` says to its program: standard input, and the size of the terminal's window."""

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from dcss.abi.programs import RESIZE, SIZE, ProgramEvent, TerminalSize
from dcss.errors import ConfigError
from dcss.rpc.program_input import READ_BYTES, ProgramInput
from dcss.rpc.protocol import event_line


class TerminalInput(ProgramInput):
    """Standard input as far as it is wanted (`reads`), and the sizes of the terminal's window."""

    def __init__(self, *, reads: bool) -> None:
        super().__init__(sys.stdin.fileno() if reads else None)
        self._resized: int | None = None

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors that have something to say when they can be read."""
        wanted = super().descriptors()
        return wanted if self._resized is None else [self._resized, *wanted]

    def read(self, descriptor: int) -> bytes:
        """Read one of them; return what is to be sent."""
        if descriptor == self._resized:
            os.read(descriptor, READ_BYTES)
            return event_line(ProgramEvent(RESIZE, SIZE.pack(*terminal_size())))
        return super().read(descriptor)

    @contextmanager
    def watching_window(self) -> Iterator[None]:
        """Say so when the terminal's window gets another size (SIGWINCH)."""
        self._resized, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

        def resized(_number: int, _frame: FrameType | None) -> None:
            try:  # noqa: SIM105 -- a signal handler does as little as it can
                os.write(write_end, b"\0")
            except BlockingIOError:
                pass  # it will be read

        before = signal.signal(signal.SIGWINCH, resized)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, before)
            os.close(self._resized)
            os.close(write_end)
            self._resized = None


def terminal_size() -> TerminalSize:
    """Return the size of the terminal that is standard input. Raises ConfigError where that is none."""
    try:
        size = os.get_terminal_size(sys.stdin.fileno())
    except (OSError, ValueError):
        raise _no_terminal() from None
    return TerminalSize(size.lines, size.columns)


def _no_terminal() -> ConfigError:
    return ConfigError("dcss exec -t: found a standard input that is no terminal, wanted one (or leave -t out)")


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Have the terminal pass on every key as it is, and restore it, however the block ends.

    Raises ConfigError where standard input is no terminal.
    """
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (termios.error, OSError, ValueError):
        raise _no_terminal() from None
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
