"""Settings of a terminal, and the requests that are made of one (asm-generic/termbits.h and ioctls.h, as on s390)."""

import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

# c_iflag
IGNBRK, BRKINT, IGNPAR, PARMRK, INPCK, ISTRIP = 0o1, 0o2, 0o4, 0o10, 0o20, 0o40
INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IXOFF = 0o100, 0o200, 0o400, 0o1000, 0o2000, 0o4000, 0o10000
IMAXBEL, IUTF8 = 0o20000, 0o40000
# c_oflag
OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, XTABS = 0o1, 0o2, 0o4, 0o10, 0o20, 0o40, 0o14000
# c_cflag
B38400, CS8, CREAD = 0o17, 0o60, 0o200
# c_lflag
ISIG, ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP = 0o1, 0o2, 0o10, 0o20, 0o40, 0o100, 0o200, 0o400
ECHOCTL, ECHOPRT, ECHOKE, IEXTEN = 0o1000, 0o2000, 0o4000, 0o100000
# places in c_cc
VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSWTC, VSTART, VSTOP, VSUSP = range(11)
VEOL, VREPRINT, VDISCARD, VWERASE, VLNEXT, VEOL2 = range(11, 17)

TCGETS, TCSETS, TCSETSW, TCSETSF = 0x5401, 0x5402, 0x5403, 0x5404
TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D
TCSBRK, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL, TIOCSCTTY = 0x5409, 0x540A, 0x540B, 0x540C, 0x540D, 0x540E
TIOCGPGRP, TIOCSPGRP, TIOCOUTQ, TIOCGWINSZ, TIOCSWINSZ = 0x540F, 0x5410, 0x5411, 0x5413, 0x5414
TIOCPKT, TIOCGPKT, TIOCGPTN, TIOCSPTLCK, TIOCGPTLCK = 0x5420, 0x80045438, 0x80045430, 0x40045431, 0x80045439
TIOCSIG, TIOCGPTPEER = 0x40045436, 0x5441
TIOCNOTTY, TIOCGETD, TCSBRKP, TIOCGSID = 0x5422, 0x5424, 0x5425, 0x5429
TCIFLUSH, TCOFLUSH, TCIOFLUSH = range(3)
TCOOFF, TCOON, TCIOFF, TCION = range(4)

DISABLED: Final = 0  # a place in c_cc with this has no character (__DISABLED_CHAR)
TERMIOS: Final = struct.Struct(">4IB19s")
SPEEDS: Final = struct.Struct(">2I")  # what struct termios2 has behind these
WINDOW_SIZE: Final = struct.Struct(">4H")
_SPEED: Final = 38_400
_CHARACTERS: Final = b"\x03\x1c\x7f\x15\x04\0\x01\0\x11\x13\x1a\0\x12\x0f\x17\x16\0".ljust(19, b"\0")


@dataclass(slots=True)
class Termios:
    """Settings as a new pseudoterminal has them (tty_std_termios)."""

    iflag: int = ICRNL | IXON
    oflag: int = OPOST | ONLCR
    cflag: int = B38400 | CS8 | CREAD
    lflag: int = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN
    line: int = 0
    characters: bytes = field(default=_CHARACTERS)

    def pack(self) -> bytes:
        """Return struct termios."""
        return TERMIOS.pack(self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.characters)

    def pack2(self) -> bytes:
        """Return struct termios2."""
        return self.pack() + SPEEDS.pack(_SPEED, _SPEED)

    @classmethod
    def unpack(cls, data: bytes) -> "Termios":
        """Read what `pack` or `pack2` made; there is only one discipline (N_TTY)."""
        iflag, oflag, cflag, lflag, _, characters = TERMIOS.unpack_from(data)
        return cls(iflag, oflag, cflag, lflag, 0, characters)


class WindowSize(NamedTuple):
    """The size of a window in characters; that in pixels is what a program says it is."""

    rows: int = 0
    columns: int = 0
    width_pixels: int = 0
    height_pixels: int = 0

    def pack(self) -> bytes:
        """Return struct winsize."""
        return WINDOW_SIZE.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> "WindowSize":
        """Read struct winsize."""
        return cls(*WINDOW_SIZE.unpack(data))
