"""Each command speaks JSON, and each document that one prints has a schema, or a reason why not."""

import pytest
from commands_support import COMMANDS
from jsonschema import Draft202012Validator

from dcss.errors import ConfigError
from dcss.schemas.registry import DOCUMENTS, document_schema

# What has no schema of its own, and why.
WITHOUT = {
    "schema": "prints a JSON Schema, which the draft itself describes",
}
WITHOUT_JSON: dict[str, str] = {}
# Documents that are no command's own.
MORE = {"error", "evidence", "logs --follow"}
# What prints no table, or one that another command prints as CSV.
WITHOUT_CSV = {
    **dict.fromkeys(("up", "guest start", "guest stop", "guest restart", "down"), "what they did; ps has the guests"),
    **dict.fromkeys(
        ("segment define", "segment save", "segment load", "segment purge", "segment import", "segment export"),
        "what they did; segment query has the segments",
    ),
    **dict.fromkeys(("exec", "logs", "cp", "image cat"), "bytes of guests, of CP or of an image"),
    **dict.fromkeys(("report", "fleet report"), "what was written"),
    **dict.fromkeys(("image build", "export", "init", "schema", "completion"), "what was written, or text"),
    **dict.fromkeys(
        ("fleet up", "fleet run", "fleet down"), "what they did; fleet ps, verify and measure have the tables"
    ),
    "top": "a screen, or JSON Lines",
    **dict.fromkeys(("metrics", "fleet metrics"), "text for Prometheus"),
    "docs": "pages of text",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json_and_has_a_schema(name: str) -> None:
    if name not in WITHOUT_JSON:
        assert any("--json" in parameter.opts for parameter in COMMANDS[name].params), f"dcss {name} has no --json"
        assert name in WITHOUT or name in DOCUMENTS, f"dcss/schemas/registry.py has no document of dcss {name}"


def test_no_schema_and_no_reason_is_about_a_command_that_is_not_there() -> None:
    assert {*DOCUMENTS, *WITHOUT, *WITHOUT_JSON} - MORE <= set(COMMANDS)
    assert set(DOCUMENTS) >= MORE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_table_is_to_be_had_as_csv(name: str) -> None:
    has_csv = any("--csv" in parameter.opts for parameter in COMMANDS[name].params)
    assert has_csv is (name not in WITHOUT_CSV), f"dcss {name}: --csv, or why not in WITHOUT_CSV, and not both"


def test_no_reason_is_about_a_table_that_is_not_there() -> None:
    assert set(WITHOUT_CSV) <= set(COMMANDS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_schema_is_one(name: str) -> None:
    schema = document_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert not Draft202012Validator(schema).is_valid([])
    for definition in (*([] if "anyOf" in schema else [schema]), *schema.get("$defs", {}).values()):
        assert set(definition["required"]) <= set(definition["properties"])


def test_an_unknown_document_is_named_with_what_is_near() -> None:
    with pytest.raises(ConfigError, match=r"found no document 'verfy', wanted one .* \(did you mean verify\?\)"):
        document_schema("verfy")
