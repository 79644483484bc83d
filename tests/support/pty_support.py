"""A pseudoterminal of this machine's kernel: what our terminals are compared with."""

import errno
import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from vmguest.tty.termios import Termios


class KernelTerminal:
    """Both sides of a pseudoterminal that controls nobody, so that its signals go nowhere; neither side blocks."""

    def __init__(self) -> None:
        self.keyboard, self.program = os.openpty()
        for side in (self.keyboard, self.program):
            os.set_blocking(side, False)

    def set(self, settings: Termios) -> None:
        """Put settings into force at once."""
        *_, in_speed, out_speed, characters = termios.tcgetattr(self.program)
        wanted = [bytes((character,)) for character in settings.characters]
        wanted += characters[len(wanted) :]
        flags = [settings.iflag, settings.oflag, settings.cflag, settings.lflag]
        termios.tcsetattr(self.program, termios.TCSANOW, [*flags, in_speed, out_speed, wanted])

    def settings(self) -> Termios:
        """Return what is in force, which need not be all that was asked for."""
        iflag, oflag, cflag, lflag, _, _, characters = termios.tcgetattr(self.program)
        numbers = (each[0] if isinstance(each, bytes) else each for each in characters[:19])
        return Termios(iflag, oflag, cflag, lflag, 0, bytes(numbers))

    def type(self, data: bytes) -> None:
        """Type characters."""
        assert os.write(self.keyboard, data) == len(data)

    def shown(self) -> bytes:
        """Return what came to the screen since."""
        return b"".join(iter(lambda: _read(self.keyboard, 4096), None))

    def reads(self, size_bytes: int) -> list[bytes]:
        """Read as a program until it would have to wait; return what each read gave.

        Before a read is refused the kernel has processed all that was typed.
        """
        return list(iter(lambda: _read(self.program, size_bytes), None))

    def write(self, data: bytes) -> int:
        """Write as a program; return how much was taken."""
        try:
            return os.write(self.program, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self.program)
        os.close(self.keyboard)


@contextmanager
def kernel_terminal() -> Iterator[KernelTerminal]:
    """Yield a new pseudoterminal."""
    terminal = KernelTerminal()
    try:
        yield terminal
    finally:
        terminal.close()


def _read(descriptor: int, size_bytes: int) -> bytes | None:
    try:
        return os.read(descriptor, size_bytes)
    except OSError as error:
        assert error.errno == errno.EAGAIN, error
        return None
