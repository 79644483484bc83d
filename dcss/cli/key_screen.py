"""A terminal whose keys come one by one, whose window may change, and which is put back on every way out."""

import os
import select
import signal
import termios
import tty
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self, TextIO

_ENTER: Final = "\x1b[?1049h\x1b[?25l"  # xterm: the alternate screen, the cursor hidden
_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_READ_BYTES = 1024
_NAMED_KEYS: Final = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
    b"\x1b": "escape",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\b": "backspace",
}


class KeyScreen:
    """The terminal of `output`, and the keys of `keyboard` if that is a terminal, too, within a `with` block.

    Ctrl-Z puts the terminal back, and a stopped program takes it again when it goes on.
    """

    def __init__(self, output: TextIO, keyboard: TextIO | None) -> None:
        self._output = output
        self._keyboard_fd = keyboard.fileno() if keyboard is not None and keyboard.isatty() else None
        self._settings: list[Any] | None = None
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_before = -1
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        # Of any signal: one that comes just before `wait` waits would not end that.
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number, handler in ((signal.SIGWINCH, self._on_window), (signal.SIGTSTP, self._on_stop)):
            self._handlers[number] = signal.signal(number, handler)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._give_back()
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wakeup_read)
        os.close(self._wakeup_write)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        found = os.get_terminal_size(self._output.fileno())
        return found.columns or 80, found.lines or 24

    def wait(self, seconds: float) -> list[str] | None:
        """Wait for keys and return them; an empty list where the window changed or a signal came, None in the end."""
        watched = [self._wakeup_read, *([] if self._keyboard_fd is None else [self._keyboard_fd])]
        ready, _, _ = select.select(watched, [], [], max(seconds, 0))
        if self._wakeup_read in ready:
            with suppress(BlockingIOError):
                os.read(self._wakeup_read, _READ_BYTES)
        if self._keyboard_fd is not None and self._keyboard_fd in ready:
            data = os.read(self._keyboard_fd, _READ_BYTES)
            if not data:
                self._keyboard_fd = None  # it has hung up
            return keys_of(data)
        return [] if ready else None

    def _take(self) -> None:
        if self._keyboard_fd is not None:
            self._settings = termios.tcgetattr(self._keyboard_fd)
            tty.setcbreak(self._keyboard_fd, termios.TCSADRAIN)
        self._output.write(_ENTER)
        self._output.flush()

    def _give_back(self) -> None:
        if self._keyboard_fd is not None and self._settings is not None:
            with suppress(termios.error):  # it has hung up
                termios.tcsetattr(self._keyboard_fd, termios.TCSADRAIN, self._settings)
        self._settings = None
        with suppress(OSError):
            self._output.write(_LEAVE)
            self._output.flush()

    def _on_window(self, _number: int, _frame: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(self._wakeup_write, b"w")

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stands here until SIGCONT
        signal.signal(number, self._on_stop)
        self._take()
        self._on_window(number, None)


def keys_of(data: bytes) -> list[str]:
    """Return what was typed: characters, and keys by their names; sequences of other keys are left out."""
    keys = []
    while data:
        name = next((each for each in sorted(_NAMED_KEYS, key=len, reverse=True) if data.startswith(each)), None)
        if name == b"\x1b" and data[1:2] in {b"[", b"O"}:
            data = _after_sequence(data)
        elif name is not None:
            keys.append(_NAMED_KEYS[name])
            data = data[len(name) :]
        else:
            keys += [character for character in data[:1].decode("ascii", "ignore") if character.isprintable()]
            data = data[1:]
    return keys


def _after_sequence(data: bytes) -> bytes:
    """Return what follows a control sequence, which a letter or ~ ends (ECMA-48)."""
    for index, byte in enumerate(data[2:], 2):
        if 0x40 <= byte <= 0x7E:
            return data[index + 1 :]
    return b""
