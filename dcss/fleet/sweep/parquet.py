"""Rows as Parquet, where pyarrow is installed. The only importer of pyarrow."""

import json
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dcss.documents import JsonObject
from dcss.errors import ConfigError
from dcss.host.files import appearing_whole

_PLAIN = (bool, int, float, str)


def check_parquet() -> None:
    """Raise ConfigError where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise ConfigError("--parquet: found no pyarrow, wanted it installed: pip install pyarrow")


def write_parquet(rows: Sequence[JsonObject], path: Path) -> None:
    """Write rows, which have the same columns. One with values of several types is text, and others' are JSON."""
    arrow: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    names = list(rows[0]) if rows else []
    table = arrow.table({name: _column([row[name] for row in rows]) for name in names})
    with appearing_whole(path) as descriptor, open(descriptor, "wb", closefd=False) as stream:
        parquet.write_table(table, stream)


def _column(values: Sequence[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) <= 1 and kinds <= set(_PLAIN):
        return list(values)
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
