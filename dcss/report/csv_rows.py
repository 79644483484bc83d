"""Rows as CSV, for spreadsheets."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

_SEPARATOR = ";"  # within a cell


def print_csv(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], stream: TextIO) -> None:
    """Write rows as CSV, with a line of names before them that is there without any row, too.

    What is not known is empty, and a list is its items with ; between. What rows have beyond `columns` stands behind.
    """
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return json.dumps(value)
    return _SEPARATOR.join(str(_cell(item)) for item in value) if isinstance(value, list) else value
