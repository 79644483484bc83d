"""A report as data: tables, notes and judgements, which dcss.report.layout renders as text.

Views make them of results. Cells keep the value beside its text, so that other forms can sort, sum and export them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dcss.report.units import UNKNOWN, fmt_bytes

Tone = Literal["bold", "dim", "good", "bad", "doubtful"]
Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and how its cells are placed in text.

    `right` aligns them at the right edge, as numbers are; `suffix` follows each cell; `gap` is the space to the next
    column.
    """

    title: str
    right: bool = False
    suffix: str = ""
    min_width: int = 0
    gap: int = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, and the value that the text shows; None could not be seen. It may span several columns."""

    text: str
    value: Value
    span: int = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A cell that shows a sign for true, false or unknown."""

    value: bool | None
    span: int = 1


Row = tuple[Cell | Mark, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; a rule stands before the last `ruled_rows` rows.

    Tables are never cut. Where one is wider than the screen, text in its last column is folded at blanks.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    ruled_rows: int = 0
    header: bool = True


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence behind a label, all lines of which begin in column `indent`; with 0 it goes on where the label ends.

    `details` follow, one line each, unwrapped.
    """

    text: str
    label: str = ""
    tone: Tone | None = None  # of the label
    indent: int = 0
    wrapped: bool = True
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """Something named that holds, does not hold, or could not be judged (None), and why."""

    name: str
    holds: bool | None
    text: str
    indent: int  # of the text
    mark_indent: int = 0


Block = Table | Note | Judgement
Section = Sequence[Block]  # rendered without empty lines in it
Page = Sequence[Section]


def text_cell(text: str, span: int = 1) -> Cell:
    """Return a cell that is text."""
    return Cell(text, text, span)


def count_cell(number: int | None) -> Cell:
    """Return a cell with a number."""
    return Cell(UNKNOWN if number is None else f"{number:,}", number)


def bytes_cell(size_bytes: int | None) -> Cell:
    """Return a cell with a size; None could not be seen."""
    return Cell(UNKNOWN if size_bytes is None else fmt_bytes(size_bytes), size_bytes)
