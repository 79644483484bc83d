"""Results as JSON documents, and back: commands print them, and CP's clients get them over the control socket.

A data class of dcss.results is an object with the same names, a tuple is a list, None is null.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Result = TypeVar("_Result", bound=DataclassInstance)

JsonObject = dict[str, Any]
_PLAIN = frozenset({str, int, float, bool, NoneType})


def to_document(result: "DataclassInstance") -> JsonObject:
    """Return the document of a result."""
    return {name: _plain(getattr(result, attribute)) for name, attribute in _attributes(type(result))}


def to_json(document: Mapping[str, Any]) -> str:
    """Return a document as text, in ASCII only: a file name that is not UTF-8 keeps its bytes as \\udcXX."""
    return json.dumps(document, indent=2, allow_nan=False)


def read_object(line: bytes, key: str) -> JsonObject | None:
    """Return the JSON object of a line if its `key` is a string; None where the line is anything else."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get(key), str) else None


def row_of(result: "DataclassInstance") -> JsonObject:
    """Return a result as a row with all its columns: what is within objects in its document stands beside the rest."""
    row: JsonObject = dict.fromkeys(columns_of(type(result)))
    for name, attribute in _attributes(type(result)):
        value = getattr(result, attribute)
        if is_dataclass(value) and not isinstance(value, type):
            row |= row_of(value)
        elif name in row:
            row[name] = _plain(value)
    return row


@cache
def columns_of(kind: Any) -> tuple[str, ...]:
    """Return the names of the columns of rows of a data class, or the names that each object of a TypedDict has."""
    if is_typeddict(kind):
        return tuple(name for name in _types(kind) if name in kind.__required_keys__)
    found: JsonObject = {}
    for name, attribute in _attributes(kind):
        found |= dict.fromkeys(_columns(name, _types(kind)[attribute]))
    return tuple(found)


def table_columns(kind: type, table: str) -> tuple[str, ...]:
    """Return the columns of a table of results of a class, which is one of its fields."""
    return columns_of(get_args(_types(kind)[table])[0])


def rows_of(table: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the objects of a document's list as rows, as `row_of` does."""
    return list(map(_spread, table))


def _columns(name: str, member: Any) -> tuple[str, ...]:
    """Return the columns of one field: those of an object that it has, or may have; a whole document has none."""
    kinds: tuple[Any, ...] = get_args(member) if get_origin(member) in {UnionType, Union} else (member,)
    for each in kinds:
        if isinstance(each, type) and is_dataclass(each):
            return columns_of(each)
        if get_origin(each) is dict:
            return ()
    return (name,)


def _spread(entry: JsonObject) -> JsonObject:
    row: JsonObject = {}
    for name, value in entry.items():
        row |= _spread(value) if isinstance(value, dict) else {name: value}
    return row


def from_document(kind: type["_Result"], document: object) -> "_Result":
    """Return the result of class `kind` that a document stands for; fields that the class does not have are ignored.

    Raises ValueError where a field is missing or of another type.
    """
    result: _Result = _parsed(kind, document, kind.__name__)
    return result


def _plain(value: object) -> object:
    if type(value) in _PLAIN:  # most values of a long answer are
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return to_document(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@cache
def _attributes(kind: type["DataclassInstance"]) -> tuple[tuple[str, str], ...]:
    """Return for each field of a class its name in the document, and the attribute that has its value."""
    return tuple((_name(field), field.name) for field in fields(kind))


def _name(field: Field[Any]) -> str:
    """Return a field's name in the document: `class`, for one, cannot be a name in Python."""
    return str(field.metadata.get("name", field.name))


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _parsed(kind: Any, value: object, where: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return _parsed_fields(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(_parsed(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict and isinstance(value, dict):  # a document within a document
        return value
    if origin in {UnionType, Union} and NoneType in arguments:
        return None if value is None else _parsed(arguments[0], value, where)
    if (origin is Literal and value in arguments) or type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise ValueError(f"{where}: found {value!r:.60}, wanted {getattr(kind, '__name__', kind)}")


def _parsed_fields(kind: type["DataclassInstance"], document: Mapping[str, Any], where: str) -> object:
    types = _types(kind)
    values = {}
    for field in fields(kind):
        name = _name(field)
        if name in document:
            values[field.name] = _parsed(types[field.name], document[name], f"{where}.{name}")
        elif field.default is MISSING:
            raise ValueError(f"{where}.{name}: found nothing, wanted a value")
    return kind(**values)
