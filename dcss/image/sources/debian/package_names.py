"""Look up packages by their names in the lists that apt has fetched."""

import re
from collections.abc import Sequence
from typing import Final

from dcss.image.sources.debian.apt_program import AptDirectories, AptError, apt_cache

_DEPENDS: Final = re.compile(r"^ [ |](?:Pre)?Depends: (?P<name>[^<\s]+)$", re.MULTILINE)


def with_related(directories: AptDirectories, packages: Sequence[str], only: re.Pattern[str]) -> list[str]:
    """Return the packages, and of what they depend on, directly or not, those whose names match. Raises AptError."""
    names = list(dict.fromkeys(packages))
    for name in names:  # which grows
        try:
            needed = _DEPENDS.findall(apt_cache(directories, "depends", name))
        except AptError as error:  # it says so without the name
            raise AptError(f"Unable to locate package {name}") from error
        names += dict.fromkeys(each for each in needed if only.fullmatch(each) and each not in names)
    return names


def matching(directories: AptDirectories, expression: str) -> list[str]:
    """Return the names of all packages that match, the newest version first. Raises AptError."""
    found = apt_cache(directories, "search", "--names-only", f"^{expression}$")
    return sorted((line.partition(" ")[0] for line in found.splitlines()), key=_by_version, reverse=True)


def _by_version(name: str) -> list[tuple[int, str]]:
    return [(int(digits or 0), other) for digits, other in re.findall(r"(\d+)|(\D+)", name)]
