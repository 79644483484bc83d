"""What is wrong in a configuration: where, what was found, what was wanted, and what mends it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Location = tuple[str | int, ...]  # keys and list indexes from the top of the document

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong. `where` is a place such as FILE:LINE: FIELD; `mends` may be empty."""

    where: str
    found: str
    wanted: str
    mends: str = ""

    def __str__(self) -> str:
        mends = f" ({self.mends})" if self.mends else ""
        return f"{self.where}: found {self.found}, wanted {self.wanted}{mends}"


class FieldProblem(NamedTuple):
    """What is wrong with the value at a location of the YAML."""

    location: Location
    found: str
    wanted: str
    mends: str = ""
    line: int | None = None  # where it is not the line of `location`

    def at(self, file: str, line: int) -> ConfigProblem:
        """Return the problem with its file and line."""
        return ConfigProblem(f"{file}:{line}: {field_name(self.location)}", self.found, self.wanted, self.mends)


class WrongValueError(ValueError):
    """Raised by the check of one value, which knows neither the value's text nor its location."""

    def __init__(self, wanted: str, mends: str = "") -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.mends = mends


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a YAML file, such as one segment; `lines` are those of the whole file, keyed by location."""

    file: str
    location: Location
    lines: Mapping[Location, int] = field(repr=False, compare=False)

    def field(self, *keys: str | int) -> str:
        """Return ``FILE:LINE: FIELD`` of the value that `keys` lead to, or of the nearest that the file has."""
        location = (*self.location, *keys)
        return f"{self.file}:{nearest_line(self.lines, location)}: {field_name(location)}"


def nearest_line(lines: Mapping[Location, int], location: Location) -> int:
    """Return the line of a location, or of the nearest enclosing one that the file has."""
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location, 1)


def field_name(location: Location) -> str:
    """Return a location as people read it: ``guests[1].mounts[0].device``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{printable(step)}" if text else printable(step)
    return text or "document"


def printable(text: str) -> str:
    """Return `text` on one line, control characters escaped, cut where it is long."""
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 1] + "…"


def describe(value: object, source: str | None = None) -> str:
    """Return how a message names a value of the document; `source` is a scalar's text as the file has it."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case str():
            return f"'{printable(value)}'"
        case bool():
            return f"{source}, which YAML reads as {'true' if value else 'false'}"
        case _:
            return printable(source if source is not None else str(value))
