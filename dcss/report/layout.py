"""Lines of text: tables as wide as their content, and prose wrapped where the reader's screen ends."""

import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dcss.report.style import Style

_GAP = "   "
_NARROWEST = 40  # prose in fewer columns is harder to read than prose that the terminal wraps


class Column(NamedTuple):
    """One column: its title, and whether its cells stand at the right edge, as numbers do."""

    title: str
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], style: Style, *, ruled_rows: int = 0) -> list[str]:
    """Return the lines of a table; a rule stands before its last `ruled_rows` rows."""
    widths = [
        max(cell_columns(column.title), *(cell_columns(row[index]) for row in rows), 0)
        for index, column in enumerate(columns)
    ]
    lines = [style.dim(_line([column.title for column in columns], columns, widths))]
    for number, row in enumerate(rows):
        if ruled_rows and number == len(rows) - ruled_rows:
            lines.append(style.dim(style.rule * (sum(widths) + len(_GAP) * (len(columns) - 1))))
        lines.append(_line(row, columns, widths))
    return lines


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        blanks = " " * (width - cell_columns(cell))
        padded.append(blanks + cell if column.right else cell + blanks)
    return _GAP.join(padded).rstrip()


def cell_columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def visible(text: str) -> str:
    """Return `text` with control characters escaped: a file's name or a guest's log must not move the cursor."""
    return "".join(ascii(char)[1:-1] if unicodedata.category(char) == "Cc" else char for char in text)


def prose(text: str, style: Style, *, first: str = "", indent: int = 0) -> list[str]:
    """Return `text` wrapped behind `indent` blanks; `first` (plain, `indent` columns wide) begins the first line."""
    text = visible(" ".join(text.split()))
    head = first.ljust(indent)
    if style.width is None or style.width < _NARROWEST:
        return [(head + text).rstrip()]
    lines = textwrap.wrap(
        text, max(style.width - indent, _NARROWEST // 2), break_long_words=False, break_on_hyphens=False
    )
    return [((head if number == 0 else " " * indent) + line).rstrip() for number, line in enumerate(lines or [""])]


def paint_first(lines: list[str], plain: str, paint: Callable[[str], str]) -> list[str]:
    """Paint `plain` where the first line begins with it; painting comes after wrapping, which counts columns."""
    if lines and lines[0].startswith(plain):
        return [paint(plain) + lines[0][len(plain) :], *lines[1:]]
    return lines
