"""Find the names of busybox's applets in its program file, without running it."""

import re
from typing import Final

# applet_names in include/applet_tables.h: names with NUL behind, in rising order, since busybox searches by halves.
_NAMES: Final = re.compile(rb"(?:[A-Za-z0-9_.+\[-]{1,31}\0){8,}")


def applet_names(program: bytes) -> tuple[bytes, ...]:
    """Return the longest run of names in rising order, which is the table of applets; nothing where there is none."""
    best: list[bytes] = []
    for found in _NAMES.finditer(program):
        run: list[bytes] = []
        for name in found.group()[:-1].split(b"\0"):
            if run and name <= run[-1]:
                best = max(best, run, key=len)
                run = []
            run.append(name)
        best = max(best, run, key=len)
    return tuple(best) if len(best) >= 8 else ()
