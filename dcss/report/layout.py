"""Render blocks as lines of text: prose is wrapped at the width of the screen, and so is a table's last column."""

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from dcss.report.blocks import Block, Cell, Column, Judgement, Mark, Note, Page, Row, Table
from dcss.report.style import Style

_NARROWEST = 40  # prose in fewer columns is harder to read than prose that the terminal wraps


def render_page(page: Page, style: Style) -> str:
    """Return a page as text: an empty line between sections, none for sections without blocks."""
    sections = ([line for block in section for line in render_block(block, style)] for section in page)
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def render_block(block: Block, style: Style) -> list[str]:
    """Return the lines of one block."""
    match block:
        case Table():
            return _table_lines(block, style)
        case Note():
            return _note_lines(block, style)
        case Judgement():
            return _judgement_lines(block, style)


def _table_lines(table: Table, style: Style) -> list[str]:
    columns, widths = table.columns, _widths(table)
    room = None
    if style.width is not None and _span_width(columns, widths, 0, len(columns)) > style.width:
        room = style.width - _span_width(columns, widths, 0, len(columns)) + widths[-1]
    lines = []
    if table.header:
        titles = tuple(Cell(column.title, None) for column in columns)
        header = [_row_line(part, columns, widths, style, suffixes=False) for part in _folded(titles, columns, room)]
        lines += [style.paint(line, "dim") for line in header]
    for number, row in enumerate(table.rows):
        if table.ruled_rows and number == len(table.rows) - table.ruled_rows:
            lines.append(style.paint(style.rule * _span_width(columns, widths, 0, len(columns)), "dim"))
        lines += [_row_line(part, columns, widths, style) for part in _folded(row, columns, room)]
    return lines


def _folded(row: Row, columns: Sequence[Column], room: int | None) -> list[Row]:
    """Return a row, or several where the text in its last column is wider than `room`."""
    last = row[-1]
    if room is None or columns[-1].right or isinstance(last, Mark) or last.span > 1 or len(row) < 2:
        return [row]
    pieces = textwrap.wrap(last.text, max(room, _NARROWEST // 2), break_long_words=False, break_on_hyphens=False)
    before = tuple(Cell("", None, cell.span) for cell in row[:-1])
    return [(*(before if number else row[:-1]), Cell(piece, piece)) for number, piece in enumerate(pieces or [""])]


def _widths(table: Table) -> list[int]:
    """Return the columns' widths, suffixes included; a cell that spans several widens the last of them."""
    widths = [
        max(column.min_width, cell_columns(column.title) if table.header else 0) + len(column.suffix)
        for column in table.columns
    ]
    spanning = []
    for row in table.rows:
        for first, cell in _placed(row):
            if cell.span > 1:
                spanning.append((first, cell))
                continue
            widths[first] = max(widths[first], _cell_width(cell) + len(table.columns[first].suffix))
    for first, cell in spanning:
        last = first + cell.span - 1
        missing = _cell_width(cell) - _span_width(table.columns, widths, first, cell.span)
        widths[last] += max(missing, 0)
    return widths


def _placed(row: Row) -> Iterator[tuple[int, Cell | Mark]]:
    """Yield each cell with the number of its first column."""
    first = 0
    for cell in row:
        yield first, cell
        first += cell.span


def _span_width(columns: Sequence[Column], widths: Sequence[int], first: int, span: int) -> int:
    """Return the width of several columns and of the gaps between them."""
    return sum(widths[first : first + span]) + sum(column.gap for column in columns[first : first + span - 1])


def _cell_width(cell: Cell | Mark) -> int:
    return 1 if isinstance(cell, Mark) else cell_columns(visible(cell.text))


def _row_line(
    row: Row, columns: Sequence[Column], widths: Sequence[int], style: Style, *, suffixes: bool = True
) -> str:
    line = ""
    for first, cell in _placed(row):
        last = columns[first + cell.span - 1]
        suffix = last.suffix if suffixes else " " * len(last.suffix)
        width = _span_width(columns, widths, first, cell.span) - len(suffix)
        text = style.mark(cell.value) if isinstance(cell, Mark) else visible(cell.text)
        padding = " " * (width - _cell_width(cell))
        line += (padding + text if columns[first].right else text + padding) + suffix + " " * last.gap
    return line.rstrip(" ")


def _note_lines(note: Note, style: Style) -> list[str]:
    if note.wrapped and note.indent:
        lines = prose(note.text, style, first=note.label, indent=note.indent)
    elif note.wrapped:
        lines = prose(note.label + note.text, style)
    else:
        lines = [note.label.ljust(note.indent) + visible(note.text)]
    if note.tone is not None:
        lines = _paint_first(lines, note.label, style.paint(note.label, note.tone))
    return lines + [" " * note.indent + style.paint(visible(line), "dim") for line in note.details]


def _judgement_lines(judgement: Judgement, style: Style) -> list[str]:
    before = " " * judgement.mark_indent
    # A mark has no width that textwrap could count once it is painted: a plain character keeps its place.
    lines = prose(judgement.text, style, first=f"{before}* {judgement.name}", indent=judgement.indent)
    return _paint_first(lines, f"{before}*", before + style.mark(judgement.holds))


def _paint_first(lines: list[str], plain: str, painted: str) -> list[str]:
    """Replace `plain` at the beginning of the first line, after wrapping: the codes of colours have no width."""
    return [painted + lines[0][len(plain) :], *lines[1:]]


def cell_columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def visible(text: str) -> str:
    """Return `text` with control and invisible characters escaped, since a file's name or a guest's log may have them.

    They must neither move the cursor nor turn text around (bidirectional overrides). Undecodable bytes stay.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or unicodedata.category(char) == "Cs" else ascii(char)[1:-1] for char in text
    )


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
