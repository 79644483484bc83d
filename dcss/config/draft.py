"""Turn plain data into models and find every problem: a broken value is set aside, and the rest is still checked."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from dcss.config.document import Document
from dcss.config.models import SystemModel, known_keys, validate
from dcss.config.problems import FieldProblem, Location, WrongValueError
from dcss.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "text",
    "too_long": "at most {max_length} entries",
    "too_short": "at least one entry",
}
_STAND_INS: dict[str, dict[str, Any]] = {
    "": {"segments": [{"name": "@"}]},
    "segments": {"name": "@"},
    "guests": {"name": "@"},
    "mounts": {"device": "@", "at": "/"},
    "disks": {"name": "x", "file": "x"},
    "run": {},
}


@dataclass(frozen=True, slots=True)
class Draft:
    """The models, and the places whose values were set aside."""

    model: SystemModel
    broken: frozenset[Location] = field(default=frozenset())

    def sound(self, *location: str | int) -> bool:
        """Return True if the value at `location` is the file's own, so that it can be judged."""
        return not any(location[:length] in self.broken for length in range(1, len(location) + 1))


def draft(document: Document, kind: type[SystemModel] = SystemModel) -> tuple[Draft | None, list[FieldProblem]]:
    """Return the models of a document without its broken parts, or None if nothing is left, and what is wrong."""
    problems = list(document.problems)
    if document.data is None or document.data == {}:
        return None, [*problems, FieldProblem((), "an empty file", "a mapping with system:, segments: and guests:")]
    model, errors = validate(document.data, kind)
    reported = {problem.location for problem in problems}
    problems += [problem_of(document, error, kind) for error in errors if error["loc"] not in reported]
    if model is not None:
        return Draft(model), problems
    if not isinstance(document.data, dict):
        return None, problems
    broken = frozenset(_place(error["loc"]) for error in errors)
    model, errors = validate(_mend(document.data, "", (), broken), kind)
    return (None if model is None else Draft(model, broken)), problems


def _place(location: Location) -> Location:
    """Return the location to set aside for an error at `location`, so that the rest can be judged by itself."""
    if location[0] not in {"segments", "guests"}:
        return location[:1]
    depth = {"mounts": 5, "disks": 5, "run": 4}  # one key of one mount, but a whole step: its keys mean nothing alone
    return location[: depth.get(str(location[2]), 3) if len(location) > 3 else 3]


def _mend(entry: object, key: str, location: Location, broken: frozenset[Location]) -> dict[str, Any]:
    """Return an entry of the list `key` without its broken values; required ones are replaced by a stand-in."""
    if location in broken or not isinstance(entry, dict):
        return dict(_STAND_INS[key])
    kept = {
        name: [_mend(child, name, (*location, name, index), broken) for index, child in enumerate(value)]
        if name in _STAND_INS and isinstance(value, list)
        else value
        for name, value in entry.items()
        if (*location, name) not in broken
    }
    return _STAND_INS[key] | kept


def problem_of(
    document: Document, error: "ErrorDetails", kind_of_model: type[SystemModel] = SystemModel
) -> FieldProblem:
    """Return what pydantic found as a problem of the document."""
    location, kind, value = error["loc"], error["type"], error["input"]
    if kind == "extra_forbidden":
        known = known_keys(location[:-1], document.data, kind_of_model)
        mends = did_you_mean(str(location[-1]), known)
        return FieldProblem(location, "an unknown key", "one of " + ", ".join(known), mends)
    if kind == "missing":
        return FieldProblem(location, "nothing", "this key")
    found = document.describe(location, value)
    if kind == "value_error":
        wrong = cast(WrongValueError, error["ctx"]["error"])
        return FieldProblem(location, found, wrong.wanted, wrong.mends)
    return FieldProblem(location, found, *_wanted(kind, value, error.get("ctx", {}), error["msg"]))


def _wanted(kind: str, value: object, context: dict[str, Any], message: str) -> tuple[str, str]:
    """Return what was wanted, and what mends it (or an empty text), for an error of one of pydantic's own types."""
    if kind == "literal_error":
        words = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return "one of " + ", ".join(words), did_you_mean(value, words) if isinstance(value, str) else ""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return _WANTED[kind], "quote it"
    if kind == "list_type" and isinstance(value, str):
        return _WANTED[kind], "write it in brackets"
    return _WANTED.get(kind, message).format(**context), ""
