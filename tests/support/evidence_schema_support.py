"""The records of an evidence file, compared with their schema."""

from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from dcss.api.evidence import Evidence
from dcss.schemas.registry import document_schema


def check_evidence(path: Path) -> set[str]:
    """Fail where a record is not what the schema says, or has a field that it does not name; return the kinds."""
    kinds = set()
    for record in Evidence(path).records():
        kind = record["record"]
        validator, names = _of_kind(kind)
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(record)]
        assert errors == [], kind
        assert set(record) <= names, f"record {kind}: not in the schema: {set(record) - names}"
        kinds.add(kind)
    return kinds


@cache
def _of_kind(kind: str) -> tuple[Draft202012Validator, set[str]]:
    """Return what validates a record of this kind, and the fields that it may have."""
    schema = document_schema("evidence")
    (definition,) = [
        each for each in schema["$defs"].values() if each["properties"].get("record", {}).get("enum") == [kind]
    ]
    return Draft202012Validator({**definition, "$defs": schema["$defs"]}), set(definition["properties"])
