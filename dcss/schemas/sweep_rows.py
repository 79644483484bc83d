"""The schema of the rows of a sweep, whose columns are those of several classes and the keys of its matrix."""

from typing import Any

from dcss.fleet.sweep.results import KernelFigures, RunFigures, SweepRow
from dcss.schemas.generate import schema_of


def row_schema() -> dict[str, Any]:
    """Return the schema of a line of the output: `command` says whose figures it has."""
    schema = schema_of(SweepRow, "a line of what dcss sweep writes")
    figures = {"run": RunFigures, "kernel-test": KernelFigures}
    cases = []
    for command, kind in figures.items():
        properties = {"command": {"const": command}, **schema_of(kind, "")["properties"]}
        cases.append({"properties": properties, "required": list(properties)})
    return {**schema, "oneOf": cases}
