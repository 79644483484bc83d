"""The line discipline of terminals (N_TTY, drivers/tty/n_tty.c): what is typed becomes lines, echoes and signals."""

from collections import deque
from collections.abc import Callable
from typing import Final

from vmguest.tty.echo import Echo, Eraser
from vmguest.tty.output import CASE_BIT, OutputProcessor, is_upper
from vmguest.tty.termios import (
    DISABLED,
    ECHO,
    ECHOCTL,
    ECHONL,
    ICANON,
    ICRNL,
    IEXTEN,
    IGNCR,
    INLCR,
    ISIG,
    ISTRIP,
    IUCLC,
    IXANY,
    IXON,
    NOFLSH,
    PARMRK,
    VEOF,
    VEOL,
    VEOL2,
    VERASE,
    VINTR,
    VKILL,
    VLNEXT,
    VMIN,
    VQUIT,
    VREPRINT,
    VSTART,
    VSTOP,
    VSUSP,
    VTIME,
    VWERASE,
    Termios,
)

SIGINT, SIGQUIT, SIGTSTP = 2, 3, 20
BUFFER_BYTES: Final = 4096  # N_TTY_BUF_SIZE
_NEWLINE, _RETURN, _TAB, _ALL_ONES = 0x0A, 0x0D, 0x09, 0xFF
_SIGNALS = ((VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP))


class LineDiscipline:
    """Typed bytes go in by `receive`, programs take them by `read`, and echoes go to `output`.

    `signal` gets the signals that characters stand for. What is typed when there is no room waits outside the queue,
    as it does in the buffers of a driver.
    """

    def __init__(self, output: OutputProcessor, signal: Callable[[int], None]) -> None:
        self._output = output
        self._signal = signal
        self._held = bytearray()
        self._queue = bytearray()
        self._taken = 0  # bytes ever read: positions in the queue are counted from the first byte ever typed
        self._line_end = 0  # position behind the last complete line (canon_head)
        self._delimiters: deque[int] = deque()  # positions of the ends of complete lines
        self._literal = False  # the next character stands for itself
        self._echo = Echo(output)
        self._eraser = Eraser(self._echo, self._queue)
        self._find_special()

    @property
    def settings(self) -> Termios:
        """What is in force."""
        return self._output.settings

    def change_settings(self, new: Termios) -> None:
        """Put settings into force; what was typed stays, and is one line where lines begin only now."""
        old = self.settings
        self._output.settings = new
        self._find_special()
        if (old.lflag ^ new.lflag) & ICANON:
            self._delimiters.clear()
            self._line_end = self._taken
            if new.lflag & ICANON and self._queue:
                self._line_end = self._head
                self._delimiters.append(self._head - 1)
            self._eraser.erasing = self._literal = False
        if old.iflag & IXON and not new.iflag & IXON:
            self.start()

    def receive(self, data: bytes) -> None:
        """Take what was typed."""
        self._held += data
        self._fill()

    def read(self, size_bytes: int) -> bytes:
        """Return what a read gets: in canonical mode one line at most, empty at an end of file.

        To be called where something is `available_bytes`.
        """
        if not self.settings.lflag & ICANON:
            data = self._take(size_bytes)
        elif size_bytes == 0:
            return b""
        else:
            data = self._take_of_line(size_bytes)
        self._fill()
        return data

    def _take_of_line(self, size_bytes: int) -> bytes:
        """Take bytes of the first line, and with its last one the mark of an end of file, which is no data."""
        end = self._delimiters[0]
        ends_file = self._queue[end - self._taken] == DISABLED
        data = self._take(min(size_bytes, end - self._taken + (not ends_file)))
        if ends_file and self._taken == end:
            self._take(1)
        if self._taken > end:
            self._delimiters.popleft()
        return data

    def available_bytes(self) -> int:
        """Return how much a read may look at: an end of file is counted as a byte."""
        return (self._line_end if self.settings.lflag & ICANON else self._head) - self._taken

    def readable_bytes(self) -> int:
        """Return how much there is to read, without ends of file (FIONREAD)."""
        available = self.available_bytes()
        if self.settings.lflag & ICANON:
            available -= sum(self._queue[position - self._taken] == DISABLED for position in self._delimiters)
        return available

    @property
    def held_bytes(self) -> int:
        """How much was typed for which there is no room yet."""
        return len(self._held)

    def minimum_and_time(self) -> tuple[int, float]:
        """Return how many bytes a read waits for, and for how many seconds; 0 seconds is for ever."""
        if self.settings.lflag & ICANON:
            return 1, 0.0
        characters = self.settings.characters
        return characters[VMIN], characters[VTIME] / 10

    def flush_input(self) -> None:
        """Forget what was typed and not read."""
        self._forget()
        self._fill()

    @property
    def stopped(self) -> bool:
        """Whether output is held back."""
        return self._echo.held

    def stop(self) -> None:
        """Hold output back, and echoes."""
        self._echo.held = True

    def start(self) -> None:
        """Let output go on."""
        self._echo.resume()

    @property
    def _head(self) -> int:
        return self._taken + len(self._queue)

    def _take(self, size_bytes: int) -> bytes:
        data = bytes(self._queue[:size_bytes])
        del self._queue[:size_bytes]
        self._taken += len(data)
        self._line_end = max(self._line_end, self._taken)
        return data

    def _forget(self) -> None:
        self._taken = self._line_end = self._head
        self._queue.clear()
        self._delimiters.clear()
        self._eraser.erasing = False

    def _fill(self) -> None:
        """Take held characters while there is room; a line that is too long loses its end, and never blocks."""
        done = 0
        while done < len(self._held):
            room = BUFFER_BYTES - len(self._queue) - 1
            if room <= 0:
                if not self.settings.lflag & ICANON or self._line_end != self._taken:
                    break
                if room < 0:
                    del self._queue[-1:]
            elif self._raw:
                piece = self._held[done : done + room]
                self._queue += piece
                done += len(piece)
                continue
            done += 1
            self._receive_one(self._held[done - 1])
        del self._held[:done]

    def _find_special(self) -> None:
        """Note which characters are more than themselves (char_map)."""
        settings = self.settings
        characters, special = settings.characters, set()
        if settings.iflag & (IGNCR | ICRNL):
            special.add(_RETURN)
        if settings.iflag & INLCR:
            special.add(_NEWLINE)
        places: list[int] = []
        if settings.lflag & ICANON:
            special.add(_NEWLINE)
            places += [VERASE, VKILL, VEOF, VEOL]
            if settings.lflag & IEXTEN:
                places += [VWERASE, VLNEXT, VEOL2, VREPRINT]
        if settings.iflag & IXON:
            places += [VSTART, VSTOP]
        if settings.lflag & ISIG:
            places += [VINTR, VQUIT, VSUSP]
        special.update(characters[place] for place in places)
        self._special = frozenset(special - {DISABLED})
        changes = settings.iflag & (ISTRIP | IUCLC | PARMRK) or settings.lflag & ECHO
        self._raw = not self._special and not changes
        self._signals = {characters[place]: number for place, number in reversed(_SIGNALS) if settings.lflag & ISIG}

    def _receive_one(self, character: int) -> None:
        """Process one character."""
        settings = self.settings
        if settings.iflag & ISTRIP:
            character &= 0x7F
        if settings.iflag & IUCLC and settings.lflag & IEXTEN and is_upper(character):
            character += CASE_BIT
        if self._literal:
            self._literal = False
            self._add_plain(character)
        elif character not in self._special:
            self._add_plain(character)
        elif not self._flow_control(character):
            if character in self._signals:
                self._send_signal(character)
            else:
                self._receive_special(character)

    def _flow_control(self, character: int) -> bool:
        """Stop or start output for the characters that say so."""
        if not self.settings.iflag & IXON:
            return False
        if character == self.settings.characters[VSTART]:
            self.start()
            return True
        if character == self.settings.characters[VSTOP]:
            self.stop()
            return True
        return False

    def _send_signal(self, character: int) -> None:
        """Send a signal; what was typed and what is still to be echoed are forgotten, unless NOFLSH says otherwise."""
        if not self.settings.lflag & NOFLSH:
            self._echo.forget()
            self._forget()
        if self.settings.iflag & IXON:
            self.start()
        if self.settings.lflag & ECHO:
            self._echo.character(character)
        self._signal(self._signals[character])

    def _start_after_any(self) -> None:
        if self.stopped and self.settings.iflag & IXON and self.settings.iflag & IXANY:
            self.start()

    def _receive_special(self, character: int) -> None:
        self._start_after_any()
        settings = self.settings
        if character == _RETURN:
            if settings.iflag & IGNCR:
                return
            if settings.iflag & ICRNL:
                character = _NEWLINE
        elif character == _NEWLINE and settings.iflag & INLCR:
            character = _RETURN
        if settings.lflag & ICANON and self._edit(character):
            return
        if settings.lflag & ECHO:
            self._eraser.finish()
            if character == _NEWLINE:
                self._echo.raw(b"\n")
            else:
                self._note_line_start()
                self._echo.character(character)
        self._put(character)

    def _edit(self, character: int) -> bool:
        """Do what a character does to the line that is being typed; return False where it is but added to it."""
        settings = self.settings
        characters, extended = settings.characters, settings.lflag & IEXTEN
        if character in {characters[VERASE], characters[VKILL]} or (extended and character == characters[VWERASE]):
            self._eraser.erase(character, self._line_end - self._taken)
        elif extended and character == characters[VLNEXT]:
            self._literal = True
            if settings.lflag & ECHO:
                self._eraser.finish()
                if settings.lflag & ECHOCTL:
                    self._echo.raw(b"^\b")
        elif extended and character == characters[VREPRINT] and settings.lflag & ECHO:
            self._reprint(character)
        elif character == _NEWLINE:
            if settings.lflag & (ECHO | ECHONL):
                self._echo.raw(b"\n")
            self._end_line(character)
        elif character == characters[VEOF]:
            self._end_line(DISABLED)
        elif character == characters[VEOL] or (extended and character == characters[VEOL2]):
            if settings.lflag & ECHO:
                self._note_line_start()
                self._echo.character(character)
            if character == _ALL_ONES and settings.iflag & PARMRK:
                self._queue.append(character)
            self._end_line(character)
        else:
            return False
        return True

    def _reprint(self, character: int) -> None:
        self._eraser.finish()
        self._echo.character(character)
        self._echo.raw(b"\n")
        for typed in self._queue[self._line_end - self._taken :]:
            self._echo.character(typed)

    def _end_line(self, character: int) -> None:
        self._delimiters.append(self._head)
        self._queue.append(character)
        self._line_end = self._head

    def _add_plain(self, character: int) -> None:
        self._start_after_any()
        if self.settings.lflag & ECHO:
            self._eraser.finish()
            self._note_line_start()
            self._echo.character(character)
        self._put(character)

    def _put(self, character: int) -> None:
        if character == _ALL_ONES and self.settings.iflag & PARMRK:
            self._queue.append(character)
        self._queue.append(character)

    def _note_line_start(self) -> None:
        if self._line_end == self._head:
            self._echo.note_line_start()
