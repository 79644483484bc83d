"""The checks: small shell scripts, one file each, with a first line that says what should hold."""

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from dcss.errors import ConfigError
from dcss.suggest import suggestion

DEFAULT_LIMIT_SECONDS: Final = 30
_FILE: Final = re.compile(r"\d+-(?P<name>[a-z0-9-]+)")
_LIMIT: Final = re.compile(r"^# limit: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, what should hold, its script, and how many seconds it may take."""

    name: str
    title: str
    script: str
    limit_seconds: int


def all_checks() -> list[Check]:
    """Return every check, in the order of their files."""
    found = []
    for entry in sorted((files("dcss") / "kernel_test" / "checks").iterdir(), key=lambda entry: entry.name):
        match = _FILE.fullmatch(entry.name)
        if match is not None:
            found.append(check_of(match["name"], entry.read_text("utf-8")))
    return found


def check_of(name: str, text: str) -> Check:
    """Read a check's file."""
    limit = _LIMIT.search(text)
    title = text.partition("\n")[0].removeprefix("# ")
    return Check(name, title, text, DEFAULT_LIMIT_SECONDS if limit is None else int(limit[1]))


def chosen(names: tuple[str, ...]) -> list[Check]:
    """Return the checks of these names, or all without names. Raises ConfigError."""
    known = {check.name: check for check in all_checks()}
    for name in names:
        if name not in known:
            wanted = f"one of {', '.join(known)}"
            raise ConfigError(f"--check: found '{name}', wanted {wanted}{suggestion(name, list(known))}")
    return [check for check in known.values() if not names or check.name in names]


def prelude() -> str:
    """Return what every check begins with."""
    return (files("dcss") / "kernel_test" / "checks" / "prelude").read_text("utf-8")
