"""What a stream can show: colour, marks beyond ASCII, width. Determined once, so that rendering is pure."""

import os
from dataclasses import dataclass
from typing import TextIO

from dcss.report.blocks import Tone

# SGR parameters of ECMA-48.
_CODES: dict[Tone, str] = {"bold": "1", "dim": "2", "good": "1;32", "bad": "1;31", "doubtful": "33"}


@dataclass(frozen=True, slots=True)
class Style:
    """How text is rendered. Prose is wrapped at `width`, None leaves it in one line; tables are never wrapped."""

    color: bool = False
    unicode: bool = True
    width: int | None = None

    def paint(self, text: str, tone: Tone) -> str:
        """Return text in the colours of a tone; without colours as it is."""
        return f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if self.color and text else text

    def mark(self, holds: bool | None) -> str:
        """Return a painted sign, one column wide, for true, false and unknown."""
        if holds is None:
            return self.paint("?", "doubtful")
        if holds:
            return self.paint("✓" if self.unicode else "+", "good")
        return self.paint("✗" if self.unicode else "x", "bad")

    @property
    def rule(self) -> str:
        """The character that rules are drawn with."""
        return "─" if self.unicode else "-"


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
