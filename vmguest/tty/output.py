"""What a terminal makes of bytes for its screen (do_output_char and __process_echoes of drivers/tty/n_tty.c).

It knows the column that the cursor is in, which erasing a tab needs.
"""

from collections.abc import Callable

from vmguest.tty.termios import (
    IUTF8,
    OCRNL,
    OLCUC,
    ONLCR,
    ONLRET,
    ONOCR,
    OPOST,
    XTABS,
    Termios,
)

_NEWLINE, _RETURN, _TAB, _BACKSPACE = b"\n\r\t\b"
_COMMON = OPOST | ONLCR
TAB_COLUMNS = 8
CASE_BIT = 0x20


def is_lower(byte: int) -> bool:
    """Return whether a byte is a small letter of Latin-1 (lib/ctype.c)."""
    return 0x61 <= byte <= 0x7A or (byte >= 0xDF and byte != 0xF7)


def is_upper(byte: int) -> bool:
    """Return whether a byte is a capital letter of Latin-1 (lib/ctype.c)."""
    return 0x41 <= byte <= 0x5A or (0xC0 <= byte <= 0xDE and byte != 0xD7)


def is_control(byte: int) -> bool:
    """Return whether a byte is a control character."""
    return byte < 0x20 or byte == 0x7F


class OutputProcessor:
    """Bytes of programs, and echoes, become bytes for the screen; `settings` is what is in force now."""

    def __init__(self, screen: Callable[[bytes], None]) -> None:
        self.settings = Termios()
        self.column = 0
        self.canon_column = 0  # where the line that is being typed begins
        self._screen = screen

    def write(self, data: bytes) -> None:
        """Show what a program wrote."""
        flags = self.settings.oflag
        if not flags & OPOST:
            self._screen(data)
        elif flags & ~_COMMON == 0:
            self._write_common(data, flags)
        else:
            self._screen(b"".join(self._processed(byte) for byte in data))

    def echo_literally(self, data: bytes, columns: int) -> None:
        """Show bytes as they are, which take a number of columns."""
        self.column += columns
        self._screen(data)

    def erase_tab(self, columns: int, *, after_tab: bool) -> None:
        """Go back over a tab which follows that many columns since the last tab, or since the line began."""
        if not after_tab:
            columns += self.canon_column
        back = TAB_COLUMNS - columns % TAB_COLUMNS
        self.column = max(0, self.column - back)
        self._screen(b"\b" * back)

    def _write_common(self, data: bytes, flags: int) -> None:
        """Show bytes all at once where at most newlines are replaced."""
        last = max(data.rfind(b"\r"), data.rfind(b"\n") if flags & ONLCR else -1)
        if last >= 0:
            self.column = self.canon_column = 0
        for byte in data[last + 1 :]:
            self._advance(byte)
        self._screen(data.replace(b"\n", b"\r\n") if flags & ONLCR else data)

    def _processed(self, byte: int) -> bytes:
        """Return what one byte becomes, and move the cursor."""
        flags = self.settings.oflag
        if byte == _NEWLINE:
            if flags & ONLRET:
                self.column = 0
            if flags & ONLCR:
                self.column = self.canon_column = 0
                return b"\r\n"
            self.canon_column = self.column
        elif byte == _RETURN:
            if flags & ONOCR and self.column == 0:
                return b""
            if flags & OCRNL:
                if flags & ONLRET:
                    self.column = self.canon_column = 0
                return b"\n"
            self.column = self.canon_column = 0
        elif byte == _TAB and flags & XTABS == XTABS:
            spaces = TAB_COLUMNS - self.column % TAB_COLUMNS
            self.column += spaces
            return b" " * spaces
        else:
            self._advance(byte)
            if flags & OLCUC and is_lower(byte):
                byte -= CASE_BIT
        return bytes((byte,))

    def _advance(self, byte: int) -> None:
        """Move the cursor as a byte other than a carriage return moves it."""
        if byte == _NEWLINE:
            self.canon_column = self.column
        elif byte == _TAB:
            self.column += TAB_COLUMNS - self.column % TAB_COLUMNS
        elif byte == _BACKSPACE:
            self.column = max(0, self.column - 1)
        elif not is_control(byte) and not (self.settings.iflag & IUTF8 and byte & 0xC0 == 0x80):
            self.column += 1
