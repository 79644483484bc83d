"""Rows as CSV, for spreadsheets."""

import csv
import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

_SEPARATOR = ";"  # within a cell


def print_csv(rows: Sequence[Mapping[str, Any]], stream: TextIO) -> None:
    """Write rows as CSV with a line of names: what is not known is empty, and a list is its items with ; between."""
    if not rows:
        return
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return json.dumps(value)
    return _SEPARATOR.join(str(_cell(item)) for item in value) if isinstance(value, list) else value
