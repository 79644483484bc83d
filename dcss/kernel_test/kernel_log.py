"""What a kernel reports in its log: oopses and warnings, and what lockdep and KASAN find.

Source: the first line of each report, as lib/bug.c, kernel/panic.c, kernel/hung_task.c, kernel/locking/lockdep.c,
mm/kasan/report.c, mm/memory.c, lib/list_debug.c, fs/sysfs/dir.c and arch/s390/mm/fault.c of Linux print it.
"""

import re
from typing import Final

EXCERPT_BYTES: Final = 8192
_REPORTS: Final = 8  # that a row names
_STAMP: Final = r"^(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?"
_HEADER: Final = re.compile(
    _STAMP + r"(?P<said>BUG: .+|WARNING: .+|INFO: .+|Oops: .+|Kernel panic - .+|kernel BUG at .+"
    r"|Unable to handle kernel .+|sysfs: cannot create duplicate .+|list_(?:add|del) corruption.+)$",
    re.MULTILINE,
)
_CUT: Final = re.compile(
    _STAMP + r"-+\[ cut here \]-+", re.MULTILINE
)  # what a warning means may follow before its header
_NUMBER: Final = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b")


def reports(log: str) -> tuple[str, ...]:
    """Return the first line of each report in a log, those that differ in numbers alone once, and at most eight."""
    said = {
        _NUMBER.sub("", text): text for text in reversed([found["said"].strip() for found in _HEADER.finditer(log)])
    }
    return tuple(reversed(said.values()))[:_REPORTS]


def first_report(log: str) -> int | None:
    """Return where in a log the line begins with which its first report does; None where it has no report."""
    return min((found.start() for each in (_CUT, _HEADER) if (found := each.search(log)) is not None), default=None)


def excerpt(log: str) -> str:
    """Return the end of a log and, where that has not all of it, what its first report begins with."""
    end = max(0, len(log) - EXCERPT_BYTES)
    begin = first_report(log)
    if begin is None or begin >= end:
        return log[end:]
    report_end = begin + EXCERPT_BYTES
    return log[begin:] if report_end >= end else f"{log[begin:report_end]}\n…\n{log[end:]}"
