"""A page that is shown again and again: each time in place on a terminal, and never more of it than fits."""

import os
from collections.abc import Sequence
from typing import NamedTuple, TextIO

_HOME_AND_CLEAR = "\x1b[H\x1b[J"
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"  # DECAWM: what is wider than the screen is cut, and moves no other line
_DEFAULT_ROWS = 24


class Frame(NamedTuple):
    """Lines of one look: `head` and `foot` are shown always, `body` as far as there is room."""

    head: Sequence[str]
    body: Sequence[str]
    foot: Sequence[str]

    def lines(self, rows: int) -> list[str]:
        """Return at most `rows` lines, which say how many are left out."""
        room = rows - len(self.head) - len(self.foot)
        if len(self.body) <= room:
            return [*self.head, *self.body, *self.foot]
        shown = max(room - 1, 0)
        more = f"and {len(self.body) - shown} more lines (a higher window shows them)"
        return [*self.head, *self.body[:shown], more, *self.foot][:rows]


def drawn(frame: Frame, rows: int) -> str:
    """Return what draws a frame over the one before on a terminal of so many rows, without scrolling it."""
    return f"{_HOME_AND_CLEAR}{_CUT}" + "\n".join(frame.lines(rows)) + _WRAP


def rows_of(stream: TextIO) -> int | None:
    """Return how many rows a terminal has; None where `stream` is none that can move its cursor."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    try:
        return os.get_terminal_size(stream.fileno()).lines or _DEFAULT_ROWS
    except (OSError, ValueError):
        return _DEFAULT_ROWS
