"""One thing that is wrong in a configuration, and how it is told: found, wanted, hint."""

import difflib
from collections.abc import Iterable
from typing import NamedTuple

Location = tuple[str | int, ...]  # keys and list indexes from the top of the document

_SHOWN_CHARACTERS = 60


class WrongValueError(ValueError):
    """Raised by a check of one value; the value itself is told from the document."""

    def __init__(self, wanted: str, hint: str = "") -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.hint = hint


class Problem(NamedTuple):
    """What was found at `location`, and what was wanted there."""

    location: Location
    found: str
    wanted: str
    hint: str = ""
    line: int | None = None  # where it is not the line of `location`

    def text(self, file: str, line: int) -> str:
        """Return ``FILE:LINE: FIELD: found X, wanted Y (hint)``."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{file}:{line}: {field_name(self.location)}: found {self.found}, wanted {self.wanted}{hint}"


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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word nearest to `word`, or an empty text."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean {by_folded[near[0]]}?" if near else ""
