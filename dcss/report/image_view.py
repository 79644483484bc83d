"""The map of an image: its picture, with one character for each few kilobytes, its files, and what both come to."""

import os
from collections.abc import Callable, Iterator
from typing import Final

from dcss.image.map import HUGE_PAGE_BYTES, FileMap, ImageMap, StretchContent
from dcss.report.blocks import Block, Cell, Column, Note, Page, Row, Table, bytes_cell, text_cell
from dcss.report.units import fmt_bytes, fmt_count

_SIGNS: Final[dict[StretchContent, str]] = {"huge": "#", "large": "=", "small": "-", "metadata": "M", "free": "."}
_LEGEND: Final = "# mapped by huge pages  = large file  - small file  M metadata  . free"
_PICTURE_COLUMNS: Final = 64
_MAX_ROWS: Final = 64
_ADDRESS_AND_SIGNS: Final = (Column("ADDRESS", gap=1), Column("CONTENT"))
_FILE_COLUMNS: Final = (
    Column("FILE"),
    Column("SIZE", right=True),
    Column("RUNS", right=True),
    Column("MAPPINGS", right=True),
    Column("HUGE", right=True),
    Column("SLACK", right=True),
)


def map_page(image: ImageMap, most_files: int | None, form: Callable[[str], str] = str) -> Page:
    """Return the page of ``dcss image map``; `most_files` limits how many files are listed, the largest first.

    `form` is how names are written: `quoted_name` for a terminal.
    """
    return (
        [Note(_LEGEND, wrapped=False), picture(image)],
        file_blocks(image, most_files, form),
        [Note(line) for line in summary(image)],
    )


def picture(image: ImageMap) -> Table:
    """Return a row for each 2 MiB or a multiple, from one 2 MiB boundary of address to the next.

    A character shows what most of its bytes are.
    """
    start = image.address // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
    end = image.address + image.size_bytes
    units = -(-(end - start) // HUGE_PAGE_BYTES)
    row_bytes = HUGE_PAGE_BYTES * -(-units // _MAX_ROWS)
    cells = _contents_of_cells(image, start, row_bytes // _PICTURE_COLUMNS)
    rows = []
    for row in range(-(-(end - start) // row_bytes)):
        first = row * _PICTURE_COLUMNS
        signs = "".join(_sign(cells.get(cell)) for cell in range(first, first + _PICTURE_COLUMNS))
        address = start + row * row_bytes
        rows.append((Cell(f"{address:#014x}", address), text_cell(signs)))
    return Table(_ADDRESS_AND_SIGNS, tuple(rows), header=False)


def _contents_of_cells(image: ImageMap, start: int, cell_bytes: int) -> dict[int, dict[StretchContent, int]]:
    """Return how many bytes of each kind lie in each cell of the picture, which begins at address `start`."""
    cells: dict[int, dict[StretchContent, int]] = {}
    for stretch in image.stretches:
        at = image.address + stretch.first_byte - start
        last = at + stretch.size_bytes
        while at < last:
            cell = at // cell_bytes
            here_bytes = min(last, (cell + 1) * cell_bytes) - at
            contents = cells.setdefault(cell, {})
            contents[stretch.content] = contents.get(stretch.content, 0) + here_bytes
            at += here_bytes
    return cells


def _sign(contents: dict[StretchContent, int] | None) -> str:
    if contents is None:
        return " "
    return _SIGNS[max(_SIGNS, key=lambda content: contents.get(content, 0))]


def file_blocks(image: ImageMap, most_files: int | None, form: Callable[[str], str] = str) -> list[Block]:
    """Return a table of the files, the largest first, and how many of them are left out."""
    files = sorted(image.files, key=lambda file: (-file.size_bytes, file.path))
    shown = files if most_files is None else files[:most_files]
    blocks: list[Block] = [Table(_FILE_COLUMNS, tuple(_file_row(file, form) for file in shown))]
    if len(shown) < len(files):
        blocks.append(Note(f"and {len(files) - len(shown):,} smaller ones (--all shows them)"))
    return blocks


def _file_row(file: FileMap, form: Callable[[str], str]) -> Row:
    return (
        text_cell(form(os.fsdecode(file.path))),
        bytes_cell(file.size_bytes),
        Cell(str(len(file.runs)), len(file.runs)),
        Cell(str(file.mappings), file.mappings),
        bytes_cell(file.huge_bytes),
        bytes_cell(file.slack_bytes),
    )


def summary(image: ImageMap) -> Iterator[str]:
    """Yield the totals: size, files, data, and what is lost and free."""
    files = [file for file in image.files if file.runs]
    mappings, runs = sum(file.mappings for file in files), sum(len(file.runs) for file in files)
    data_bytes = sum(file.data_bytes for file in files)
    yield f"{fmt_bytes(image.size_bytes)} at {image.address:#x}"
    if image.borders:
        borders = " and ".join(f"{image.address + border:#x}" for border in image.borders)
        yield f"over {len(image.borders) + 1} segments, with borders at {borders}: a run over one needs two mappings"
    each = f", {mappings / len(files):.2f} a file" if files else ""
    yield f"{fmt_count(len(files), 'file')} with data, {fmt_count(runs, 'run')}, {fmt_count(mappings, 'mapping')}{each}"
    share = "" if image.huge_share is None else f", {image.huge_share:.1%} of it in whole pages of 2 MiB"
    yield f"{fmt_bytes(data_bytes)} of file data{share}"
    slack_bytes = sum(file.slack_bytes for file in files)
    yield (
        f"{fmt_bytes(image.total_bytes('metadata'))} of metadata, {fmt_bytes(slack_bytes)} lost in last blocks, "
        f"{fmt_bytes(image.total_bytes('free'))} free"
    )
