"""Keys of a system's YAML by their paths: ``guests.LINUX.count``, ``guests[0].mounts[0].mode``, ``guests[*].run``."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from dcss.config.problems import Location, WrongValueError, field_name
from dcss.suggest import did_you_mean

_STEP: Final = re.compile(r"\.?(?P<name>[^.\[\]]+)|\[(?P<index>\d+|\*)\]")
_ALL: Final = "*"
_FORM: Final = "a path of the system's YAML, such as guests.LINUX.count, guests[0].mounts[0].mode or segments[*].type"


def parse_key(text: str) -> tuple[str | int, ...]:
    """Return the steps of a path; an entry of a list is given by its number, by its name, or all by ``[*]``.

    Raises WrongValueError.
    """
    steps: list[str | int] = []
    end = 0
    for match in _STEP.finditer(text):
        if match.start() != end or (not steps and (match["name"] is None or text.startswith("."))):
            break
        end = match.end()
        index = match["index"]
        steps.append(match["name"] if index is None else index if index == _ALL else int(index))
    if end != len(text) or not steps:
        raise WrongValueError(_FORM)
    return tuple(steps)


def locations(data: Any, steps: Sequence[str | int]) -> list[Location]:
    """Return the places that a path means: the last key, and mappings on the way to it, need not be there.

    Raises WrongValueError where a list on the way has no such entry.
    """
    return list(_locations(data, steps, ()))


def _locations(data: Any, steps: Sequence[str | int], at: Location) -> Iterator[Location]:
    if not steps:
        yield at
        return
    step, rest = steps[0], steps[1:]
    if isinstance(data, list):
        for index in _indexes(data, step, at):
            yield from _locations(data[index], rest, (*at, index))
    elif isinstance(step, int) or step == _ALL or not (data is None or isinstance(data, dict)):
        found = "a list" if isinstance(step, int) or step == _ALL else "a mapping"
        raise WrongValueError(f"a path that the system's YAML has ({field_name(at)} is not {found})")
    else:
        yield from _locations(None if data is None else data.get(step), rest, (*at, step))


def _indexes(entries: list[Any], step: str | int, at: Location) -> Sequence[int]:
    if step == _ALL:
        return range(len(entries))
    if isinstance(step, int):
        if step < len(entries):
            return (step,)
        raise WrongValueError(f"a path that the system's YAML has ({field_name(at)} has {len(entries)} entries)")
    names = [str(entry["name"]) if isinstance(entry, dict) and "name" in entry else "" for entry in entries]
    if step in names:
        return (names.index(step),)
    known = [name for name in names if name]
    raise WrongValueError(
        f"an entry that {field_name(at)} has, by its name: {', '.join(known)}", did_you_mean(step, known)
    )


def put(data: Any, location: Location, value: object) -> None:
    """Set the value at a location, and make the mappings on the way; None takes the key out."""
    *above, last = location
    for step in above:
        data = data.setdefault(step, {}) if isinstance(data, dict) else data[step]
    if value is None and isinstance(data, dict):
        data.pop(last, None)
    else:
        data[last] = value
