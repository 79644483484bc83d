"""Echoes of what is typed, and of its erasure (echo_char and eraser of drivers/tty/n_tty.c)."""

from collections.abc import Callable
from typing import Final

from vmguest.tty.output import OutputProcessor, is_control, is_lower, is_upper
from vmguest.tty.termios import (
    ECHO,
    ECHOCTL,
    ECHOE,
    ECHOK,
    ECHOKE,
    ECHOPRT,
    IUTF8,
    VERASE,
    VKILL,
    Termios,
)

_TAB, _ALL_ONES = 0x09, 0xFF
_CONTROL_BIT: Final = 0o100  # what makes a letter of a control character, and the other way round
_RUBOUT: Final = b"\b \b"


class Echo:
    """Shows what is typed by way of `output`, or keeps it until `resume` while output is held back."""

    def __init__(self, output: OutputProcessor) -> None:
        self.held = False
        self._output = output
        self._waiting: list[Callable[[], None]] = []

    @property
    def settings(self) -> Termios:
        """What is in force."""
        return self._output.settings

    def resume(self) -> None:
        """Show what was kept, and hold nothing back any more."""
        self.held = False
        waiting, self._waiting = self._waiting, []
        for show in waiting:
            show()

    def forget(self) -> None:
        """Give up what was kept."""
        self._waiting.clear()

    def character(self, character: int) -> None:
        """Show a character; with ECHOCTL ^X is shown for control characters."""
        if character == _ALL_ONES:
            self._show(lambda: self._output.echo_literally(b"\xff", 1))
        elif self.settings.lflag & ECHOCTL and is_control(character) and character != _TAB:
            shown = bytes((0x5E, character ^ _CONTROL_BIT))
            self._show(lambda: self._output.echo_literally(shown, 2))
        else:
            self.raw(bytes((character,)))

    def raw(self, data: bytes) -> None:
        """Show bytes without a caret."""
        self._show(lambda: self._output.write(data))

    def note_line_start(self) -> None:
        """Note that the line that is being typed begins in this column."""
        output = self._output

        def note() -> None:
            output.canon_column = output.column

        self._show(note)

    def move_back(self) -> None:
        """Note that a byte took no column."""
        output = self._output

        def move() -> None:
            output.column = max(0, output.column - 1)

        self._show(move)

    def erase_tab(self, columns: int, *, after_tab: bool) -> None:
        """Go back over a tab that follows so many columns."""
        self._show(lambda: self._output.erase_tab(columns, after_tab=after_tab))

    def _show(self, show: Callable[[], None]) -> None:
        if self.held:
            self._waiting.append(show)
        else:
            show()


class Eraser:
    """Takes characters off the end of a line, and shows that. `erasing` is whether a printed erasure is not closed."""

    def __init__(self, echo: Echo, queue: bytearray) -> None:
        self.erasing = False
        self._echo = echo
        self._queue = queue

    def finish(self) -> None:
        """Close a printed erasure."""
        if self.erasing:
            self._echo.raw(b"/")
            self.erasing = False

    def erase(self, key: int, start: int) -> None:
        """Take off what a key says, at most to the place in the queue where the line begins."""
        settings, queue = self._echo.settings, self._queue
        if len(queue) == start:
            return
        one, word = key == settings.characters[VERASE], False
        if not one and key == settings.characters[VKILL]:
            if self._kill_at_once(key, start):
                return
        elif not one:
            word = True
        letters = False
        while len(queue) > start:
            first = self._last_character(start)
            character = queue[first]
            if self._is_continuation(character):
                break
            if word:
                if _is_word(character):
                    letters = True
                elif letters:
                    break
            erased = bytes(queue[first:])
            del queue[first:]
            if settings.lflag & ECHO:
                self._show_erased(erased, start, one=one)
            if one:
                break
        if len(queue) == start and settings.lflag & ECHO:
            self.finish()

    def _kill_at_once(self, key: int, start: int) -> bool:
        """Take the line off without erasing it on the screen, where settings ask for that."""
        flags = self._echo.settings.lflag
        erases_visibly = ECHO | ECHOK | ECHOKE | ECHOE
        if flags & erases_visibly == erases_visibly:
            return False
        del self._queue[start:]
        if flags & ECHO:
            self.finish()
            self._echo.character(key)
            if flags & ECHOK:
                self._echo.raw(b"\n")
        return True

    def _last_character(self, start: int) -> int:
        """Return the place of the last character, which may have several bytes."""
        first = len(self._queue) - 1
        while first > start and self._is_continuation(self._queue[first]):
            first -= 1
        return first

    def _show_erased(self, erased: bytes, start: int, *, one: bool) -> None:
        settings, echo, character = self._echo.settings, self._echo, erased[0]
        if settings.lflag & ECHOPRT:
            if not self.erasing:
                echo.raw(b"\\")
                self.erasing = True
            echo.character(character)
            for more in erased[1:]:
                echo.raw(bytes((more,)))
                echo.move_back()
        elif one and not settings.lflag & ECHOE:
            echo.character(settings.characters[VERASE])
        elif character == _TAB:
            self._show_erased_tab(start)
        elif not is_control(character):
            echo.raw(_RUBOUT)
        elif settings.lflag & ECHOCTL:
            echo.raw(_RUBOUT * 2)

    def _show_erased_tab(self, start: int) -> None:
        line = self._queue[start:]
        begin = line.rfind(b"\t") + 1
        columns = 0
        for character in line[begin:]:
            if is_control(character):
                columns += 2 if self._echo.settings.lflag & ECHOCTL else 0
            elif not self._is_continuation(character):
                columns += 1
        self._echo.erase_tab(columns, after_tab=begin > 0)

    def _is_continuation(self, character: int) -> bool:
        return bool(self._echo.settings.iflag & IUTF8) and character & 0xC0 == 0x80


def _is_word(character: int) -> bool:
    """Return whether a byte is a letter, digit or underscore."""
    return is_lower(character) or is_upper(character) or bytes((character,)).isdigit() or character == 0x5F
