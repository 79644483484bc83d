"""JSON Schema (draft 2020-12) of the documents that classes stand for: data classes, named tuples and TypedDicts.

Documents may have more fields than their schema: later versions add some.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def schema_of(kind: Any, title: str) -> Schema:
    """Return the schema of a document; classes within it stand in `$defs`."""
    definitions: dict[str, Schema] = {}
    schema = _schema(kind, definitions)
    head: Schema = {"$schema": DRAFT, "title": title}
    if "$ref" in schema:
        schema = definitions.pop(kind.__name__)
    elif "anyOf" in schema:
        schema = {"type": "object", **schema}
    return {**head, **schema, **({"$defs": definitions} if definitions else {})}


def _schema(kind: Any, definitions: dict[str, Schema]) -> Schema:
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind in {Any, object}:
        return {}
    arguments = get_args(kind)
    return _generic(get_origin(kind), arguments, definitions) if arguments else _object(kind, definitions)


def _generic(origin: Any, arguments: tuple[Any, ...], definitions: dict[str, Schema]) -> Schema:
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in {UnionType, Union}:
        return {"anyOf": [_schema(each, definitions) for each in arguments]}
    if origin in {dict, Mapping}:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    return {"type": "array", "items": _schema(arguments[0], definitions)}


def _object(kind: type, definitions: dict[str, Schema]) -> Schema:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # a class may have itself within it
        properties, required = _members(kind)
        definitions[name] = {
            "type": "object",
            "properties": {each: _schema(member, definitions) for each, member in properties.items()},
            "required": required,
        }
        summary = (kind.__doc__ or "").strip().split("\n\n")[0]
        if summary and not summary.startswith(f"{name}("):
            definitions[name]["description"] = " ".join(summary.split())
    return {"$ref": f"#/$defs/{name}"}


def _members(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a class with their types, and those that each document has."""
    types = get_type_hints(kind)
    if is_dataclass(kind):
        names = {field.name: str(field.metadata.get("name", field.name)) for field in fields(kind)}
        # What has a default came later: documents of older versions do without, and the program writes it always.
        required = [names[field.name] for field in fields(kind) if field.default is MISSING]
        return {name: types[attribute] for attribute, name in names.items()}, required
    if is_typeddict(kind):
        return types, sorted(kind.__required_keys__)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return {name: types[name] for name in kind._fields}, list(kind._fields)
    raise TypeError(f"{kind!r} stands for no document")
