"""What a stream can show: colour, marks beyond ASCII, width. Determined once, so that rendering is pure."""

import os
from dataclasses import dataclass
from typing import TextIO

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"


@dataclass(frozen=True, slots=True)
class Style:
    """How text is rendered. Prose is wrapped at `width`, None leaves it in one line; tables are never wrapped."""

    color: bool = False
    unicode: bool = True
    width: int | None = None

    def bold(self, text: str) -> str:
        """Return emphasized text."""
        return self._paint(text, _BOLD)

    def dim(self, text: str) -> str:
        """Return text in the background."""
        return self._paint(text, _DIM)

    def good(self, text: str) -> str:
        """Return text that stands for something as it should be."""
        return self._paint(text, f"{_BOLD};{_GREEN}")

    def bad(self, text: str) -> str:
        """Return text that stands for something wrong."""
        return self._paint(text, f"{_BOLD};{_RED}")

    def doubtful(self, text: str) -> str:
        """Return text that stands for something that could not be judged."""
        return self._paint(text, _YELLOW)

    def mark(self, holds: bool | None) -> str:
        """Return a painted sign, one column wide, for true, false and unknown."""
        if holds is None:
            return self.doubtful("?")
        if holds:
            return self.good("✓" if self.unicode else "+")
        return self.bad("✗" if self.unicode else "x")

    @property
    def rule(self) -> str:
        """The character that rules are drawn with."""
        return "─" if self.unicode else "-"

    def _paint(self, text: str, codes: str) -> str:
        return f"\x1b[{codes}m{text}\x1b[0m" if self.color and text else text


def style_for(stream: TextIO) -> Style:
    """Return what `stream` can show: colour only on a terminal and without NO_COLOR; COLUMNS overrides the width."""
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return Style(
        color=terminal and not os.environ.get("NO_COLOR"),
        unicode=(stream.encoding or "").lower().replace("-", "").startswith("utf"),
        width=_width(stream),
    )


def _width(stream: TextIO) -> int | None:
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return int(columns)
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):  # no terminal behind the stream after all
        return None
