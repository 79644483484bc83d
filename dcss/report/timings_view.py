"""Where guests' starts went: a row for each guest, or of many the median and the slowest of those started alike."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby

from dcss.report.blocks import Block, Cell, Column, Note, Row, Table, text_cell
from dcss.report.units import UNKNOWN, fmt_count, fmt_seconds
from dcss.report.verify_view import NOTE_INDENT
from dcss.results import GuestTimings, RunTimings, StageSeconds

_UNFOLDED = 8  # up to this many guests have a row each
_TITLES = {"hypercalls": "CALLS", "populate": "PRESENT"}
_STEPS = ("read", "load", "exec")  # of the `run:` list, beside `map:`
_SHOWN = tuple(field.name for field in fields(StageSeconds) if field.name not in _STEPS)
_COLUMNS = (
    Column("START IN MS", min_width=11, gap=2),
    Column("BOOT", gap=2),
    *(Column(_TITLES.get(name, name.upper()), right=True, gap=2) for name in _SHOWN),
    Column("ALL", right=True),
)
_MEANINGS = (
    "FORK is from CP's request to the guest's first step, waiting for others included; CALLS are hypercalls; PRESENT"
    " is mapping files with every page present; OTHER is other steps, and what no stage has; of many guests started"
    " alike, the median of each stage and the slowest guest are shown"
)


def timing_blocks(timings: RunTimings, *, show_all: bool) -> list[Block]:
    """Return the table, and what came before the first guest."""
    guests = timings.guests
    rows = list(map(_row, guests)) if show_all or len(guests) <= _UNFOLDED else _folded(guests)
    interpreter = UNKNOWN if timings.interpreter_seconds is None else fmt_seconds(timings.interpreter_seconds)
    return [
        Table(_COLUMNS, tuple(rows)),
        Note(f"publication {fmt_seconds(timings.publish_seconds)}", "before", indent=NOTE_INDENT),
        Note(f"interpreter {interpreter}, beside the publication", "", indent=NOTE_INDENT),
        Note(_MEANINGS, "stages", indent=NOTE_INDENT),
    ]


def _folded(guests: Sequence[GuestTimings]) -> list[Row]:
    """Return the rows of guests started alike: the median of each stage, and the slowest guest."""
    rows = []
    by_boot = sorted(guests, key=lambda guest: (guest.boot or "", guest.seconds))
    for boot, group in groupby(by_boot, key=lambda guest: guest.boot):
        alike = list(group)
        if len(alike) > 1:
            from statistics import median  # 4 ms, which a page without timings does without

            medians = [median(figures) for figures in zip(*map(_figures, alike), strict=True)]
            rows.append(_cells(fmt_count(len(alike), "guest"), boot or UNKNOWN, medians))
        rows.append(_row(alike[-1]))
    return rows


def _row(guest: GuestTimings) -> Row:
    return _cells(guest.name, guest.boot or UNKNOWN, _figures(guest))


def _figures(guest: GuestTimings) -> list[float]:
    """Return the seconds of each column; steps beside `map:` are other."""
    stages = guest.stages
    figures = [float(getattr(stages, name)) for name in _SHOWN]
    figures[_SHOWN.index("other")] += sum(float(getattr(stages, name)) for name in _STEPS)
    return [*figures, guest.seconds]


def _cells(name: str, boot: str, seconds: Sequence[float]) -> Row:
    return (text_cell(name), text_cell(boot), *(Cell(f"{1000 * each:.1f}", each) for each in seconds))
