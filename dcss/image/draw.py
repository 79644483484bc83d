"""Listings and drawings of images as text: `ls`, and the map with one character for each few kilobytes."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from dcss.ext2.inode import Inode
from dcss.image.map import HUGE_PAGE_BYTES, FileMap, ImageMap, StretchContent
from dcss.report.layout import Column, table
from dcss.report.style import Style
from dcss.report.units import fmt_bytes, fmt_count

_SIGNS: Final[dict[StretchContent, str]] = {"huge": "#", "large": "=", "small": "-", "metadata": "M", "free": "."}
LEGEND: Final = "# file data that huge pages map   = large file, small pages   - small file   M metadata   . free"
_COLUMNS: Final = 64
_MAX_ROWS: Final = 64


class ListedFile(NamedTuple):
    """One line of a listing. `target` is a symbolic link's."""

    name: bytes
    inode: Inode
    target: bytes | None


def long_lines(entries: Sequence[ListedFile]) -> Iterator[str]:
    """Yield what `ls -ln --time-style=long-iso` says of each: the owners are the image's numbers, times are local."""
    sizes = [_size(entry.inode) for entry in entries]
    columns = [
        [str(entry.inode.links_count), str(entry.inode.uid), str(entry.inode.gid), size]
        for entry, size in zip(entries, sizes, strict=True)
    ]
    widths = [max((len(row[number]) for row in columns), default=0) for number in range(4)]
    for entry, row in zip(entries, columns, strict=True):
        numbers = " ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.inode.mtime))
        arrow = f" -> {os.fsdecode(entry.target)}" if entry.target is not None else ""
        yield f"{stat.filemode(entry.inode.mode)} {numbers} {changed} {os.fsdecode(entry.name)}{arrow}"


def _size(inode: Inode) -> str:
    if inode.is_device:
        major, minor = inode.rdev
        return f"{major}, {minor}"
    return str(inode.size_bytes)


def drawing(image: ImageMap) -> Iterator[str]:
    """Yield the image's picture: one row for 2 MiB or a multiple, from one 2 MiB boundary of address to the next.

    A character shows what most of its bytes are.
    """
    start = image.address // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
    end = image.address + image.size_bytes
    units = -(-(end - start) // HUGE_PAGE_BYTES)
    row_bytes = HUGE_PAGE_BYTES * -(-units // _MAX_ROWS)
    cell_bytes = row_bytes // _COLUMNS
    cells: dict[int, dict[StretchContent, int]] = {}
    for stretch in image.stretches:
        at, last = (
            image.address + stretch.first_byte - start,
            image.address + stretch.first_byte + stretch.size_bytes - start,
        )
        while at < last:
            cell = at // cell_bytes
            here = min(last, (cell + 1) * cell_bytes) - at
            contents = cells.setdefault(cell, {})
            contents[stretch.content] = contents.get(stretch.content, 0) + here
            at += here
    for row in range(-(-(end - start) // row_bytes)):
        signs = "".join(_sign(cells.get(row * _COLUMNS + column)) for column in range(_COLUMNS))
        yield f"{start + row * row_bytes:#014x} {signs}".rstrip()


def _sign(contents: dict[StretchContent, int] | None) -> str:
    if contents is None:
        return " "
    return _SIGNS[max(_SIGNS, key=lambda content: contents.get(content, 0))]


def file_table(image: ImageMap, style: Style, most: int | None) -> list[str]:
    """Return a table of the files, the largest first; `most` limits how many."""
    files = sorted(image.files, key=lambda file: (-file.size_bytes, file.path))
    shown = files if most is None else files[:most]
    rows = [
        [
            os.fsdecode(file.path),
            fmt_bytes(file.size_bytes),
            str(len(file.runs)),
            str(file.mappings),
            fmt_bytes(file.huge_bytes),
            fmt_bytes(file.slack_bytes),
        ]
        for file in shown
    ]
    titles = (("FILE", False), ("SIZE", True), ("RUNS", True), ("MAPPINGS", True), ("HUGE", True), ("SLACK", True))
    lines = table([Column(*title) for title in titles], rows, style)
    if len(shown) < len(files):
        lines.append(f"and {len(files) - len(shown):,} smaller ones (--all shows them)")
    return lines


def summary(image: ImageMap) -> Iterator[str]:
    """Yield what the picture and the table come to."""
    files = [file for file in image.files if file.runs]
    mappings, runs = sum(file.mappings for file in files), sum(len(file.runs) for file in files)
    data_bytes = sum(file.data_bytes for file in files)
    yield f"{fmt_bytes(image.size_bytes)} at {image.address:#x}"
    each = f", {mappings / len(files):.2f} a file" if files else ""
    yield f"{fmt_count(len(files), 'file')} with data, {fmt_count(runs, 'run')}, {fmt_count(mappings, 'mapping')}{each}"
    share = "" if image.huge_share is None else f", {image.huge_share:.1%} of it in whole pages of 2 MiB"
    yield f"{fmt_bytes(data_bytes)} of file data{share}"
    slack_bytes = sum(file.slack_bytes for file in files)
    yield (
        f"{fmt_bytes(image.total_bytes('metadata'))} of metadata, {fmt_bytes(slack_bytes)} lost in last blocks, "
        f"{fmt_bytes(image.total_bytes('free'))} free"
    )


def map_form(image: ImageMap) -> dict[str, Any]:
    """Return the map's JSON form."""
    return {
        "address": image.address,
        "size_bytes": image.size_bytes,
        "metadata_bytes": image.total_bytes("metadata"),
        "free_bytes": image.total_bytes("free"),
        "huge_share": image.huge_share,
        "files": [_file_form(file) for file in image.files],
    }


def _file_form(file: FileMap) -> dict[str, Any]:
    return {
        "path": os.fsdecode(file.path),
        "inode": file.inode,
        "size_bytes": file.size_bytes,
        "data_bytes": file.data_bytes,
        "slack_bytes": file.slack_bytes,
        "runs": [list(run) for run in file.runs],
        "mappings": file.mappings,
        "huge_bytes": file.huge_bytes,
        "aligned": file.aligned,
    }
