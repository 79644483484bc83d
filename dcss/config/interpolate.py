"""Replace `${VAR}` in the scalars of a YAML file by environment variables, with the forms that compose files have."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from dcss.config.problems import WrongValueError

_REFERENCE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:?[-?+])(?P<word>[^{}]*))?\}|(?P<bad>)))"
)
_WANTED: Final = "${NAME}, ${NAME:-default}, ${NAME:?message} or ${NAME:+other}"


class Interpolated(NamedTuple):
    """A scalar's text with its references replaced, and the variables that are not set and have no default."""

    text: str
    unset: tuple[str, ...]


def interpolate(text: str, environment: Mapping[str, str]) -> Interpolated:
    """Return `text` with each `${NAME}` replaced, and each `$$` by one dollar sign.

    `${NAME:-word}` gives the word where the variable is unset or empty, `${NAME-word}` where it is unset; `?` makes an
    error of the word, `+` gives the word where the variable is set. A `$` before anything but `{` and `$` stays, so
    that shell lines keep their own variables. An unset variable without default is empty, as in compose files. Raises
    WrongValueError for a reference of another form.
    """
    unset: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["bad"] is not None:
            shown = text[match.start() :].partition("}")
            raise WrongValueError(_WANTED, f"write $${{ for the characters of {shown[0] + shown[1]} themselves")
        return _value(match, environment, unset)

    return Interpolated(_REFERENCE.sub(replaced, text), tuple(unset))


def _value(match: re.Match[str], environment: Mapping[str, str], unset: list[str]) -> str:
    name, operator, word = match["name"], match["operator"] or "", match["word"] or ""
    value = environment.get(name)
    usable = value is not None and not (operator.startswith(":") and not value)
    match operator[-1:]:
        case "-":
            return value if usable and value is not None else word
        case "+":
            return word if usable else ""
        case "?":
            if usable and value is not None:
                return value
            raise WrongValueError(f"the environment variable {name} to be set", word)
        case _:
            if value is None:
                unset.append(name)
            return value or ""
