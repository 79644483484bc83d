"""One look of `dcss top` as lines of a screen: head, segments, guests, and the keys."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, get_args

from dcss.report.blocks import Cell, Column, Row, Table, bytes_cell, count_cell, text_cell
from dcss.report.layout import render_block
from dcss.report.style import Style
from dcss.report.units import fmt_bytes, fmt_count
from dcss.results import GuestActivity, SystemActivity

TopSort = Literal["private", "growth", "calls", "restarts", "guest"]
SORTS: tuple[TopSort, ...] = get_args(TopSort)
_WIDE = 110  # columns from which on engine and process have room
_SEGMENTS_SHOWN = 5
_NONE = "-"
_GAP = 2
_KEYS = "q quit  p g c r n sort  o reverse  / filter  f fold  s segments  up down scroll"  # 77 columns
_SORTED_BY: dict[TopSort, str] = {
    "private": "private memory",
    "growth": "growth",
    "calls": "hypercalls",
    "restarts": "restarts",
    "guest": "name",
}
_STEM = re.compile(r"[0-9]+$")


@dataclass(frozen=True, slots=True)
class TopChoice:
    """What the user has chosen to see. `typed` is a filter that is being typed; `first` the first row shown."""

    sort: TopSort = "private"
    ascending: bool = False
    wanted: str = ""
    typed: str | None = None
    folded: bool = False
    with_segments: bool = True
    first: int = 0


def screen_lines(look: SystemActivity, choice: TopChoice, style: Style, columns: int, rows: int) -> list[str]:
    """Return at most `rows` lines, each for at most so many `columns`, the last one with the keys."""
    head = _head(look, columns, style)
    if choice.with_segments and look.segments:
        head += ["", *_segment_lines(look, style)]
    foot = [_foot(choice, style, columns)]
    guests = chosen_guests(look, choice)
    table = render_block(Table(_columns(columns), tuple(_row(guest, columns) for guest in guests)), style)
    room = rows - len(head) - len(foot) - 3  # an empty line, what is shown, and the table's head
    if room < 2:
        return [*head, *foot][:rows]
    shown = table[1:]
    if len(shown) > room:
        first = min(choice.first, len(shown) - room + 1)
        more = f"{fmt_count(len(shown) - room + 1, 'more row')}: scroll, fold or filter"
        shown = [*shown[first : first + room - 1], style.paint(more, "dim")]
    return [*head, "", _choice_line(choice, style, columns), table[0], *shown, *[""] * (room - len(shown)), *foot]


def chosen_guests(look: SystemActivity, choice: TopChoice) -> list[GuestActivity]:
    """Return the rows of guests: filtered by name, state, engine or segment, folded, and sorted."""
    wanted = (choice.wanted if choice.typed is None else choice.typed).casefold()
    guests = [
        guest
        for guest in look.guests
        if any(wanted in word.casefold() for word in (guest.name, guest.state, guest.engine, *guest.segments))
    ]
    if choice.folded:
        stems = groupby(sorted(guests, key=_stem), key=_stem)
        guests = [_fold(stem, list(members)) for stem, members in stems]
    key = _KEY_OF[choice.sort]
    ascending = choice.ascending != (choice.sort == "guest")
    known = sorted((guest for guest in guests if key(guest) is not None), key=key, reverse=not ascending)
    return [*known, *(guest for guest in guests if key(guest) is None)]


def scrolled(look: SystemActivity, choice: TopChoice, by: int, rows: int) -> TopChoice:
    """Return the choice with other rows in sight, on a screen of so many rows."""
    segments = _segment_lines(look, Style()) if choice.with_segments and look.segments else []
    room = rows - 7 - (len(segments) + 1 if segments else 0)
    last = max(0, len(chosen_guests(look, choice)) - room)
    return replace(choice, first=max(0, min(choice.first + by, last)))


_KEY_OF: dict[TopSort, Callable[[GuestActivity], Any]] = {
    "private": lambda guest: guest.private_bytes,
    "growth": lambda guest: guest.growth_bytes_per_second,
    "calls": lambda guest: guest.hypercalls_per_second,
    "restarts": lambda guest: guest.restarts,
    "guest": lambda guest: guest.name,
}


def _stem(guest: GuestActivity) -> str:
    return _STEM.sub("", guest.name) or guest.name


def _fold(stem: str, guests: Sequence[GuestActivity]) -> GuestActivity:
    """Return the sum of guests whose names differ by a number; unknown parts are left out of it."""
    if len(guests) == 1:
        return guests[0]
    states = sorted({guest.state for guest in guests})
    engines = sorted({guest.engine for guest in guests})
    return GuestActivity(
        f"{stem}*{len(guests)}",
        "/".join(engines),
        "/".join(states),
        None,
        _sum([guest.private_bytes for guest in guests]),
        _sum([guest.growth_bytes_per_second for guest in guests]),
        sum(guest.hypercalls for guest in guests),
        _sum([guest.hypercalls_per_second for guest in guests]),
        sum(guest.restarts for guest in guests),
        tuple(sorted({name for guest in guests for name in guest.segments})),
    )


def _sum(values: Sequence[int | float | None]) -> "int | None":
    known = [value for value in values if value is not None]
    return int(sum(known)) if known else None


def _head(look: SystemActivity, columns: int, style: Style) -> list[str]:
    states: dict[str, int] = {}
    for guest in look.guests:
        states[guest.state] = states.get(guest.state, 0) + 1
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=lambda each: -each[1]))
    cp = look.cp
    cpu = "" if cp.cpu_percent is None else f"{cp.cpu_percent:.1f} % CPU, "
    memory = "n/a" if cp.private_bytes is None else fmt_bytes(cp.private_bytes)
    private = _sum([guest.private_bytes for guest in look.guests])
    growth = _sum([guest.growth_bytes_per_second for guest in look.guests])
    calls = _sum([guest.hypercalls_per_second for guest in look.guests])
    first = f"{look.system}: {look.state}, {fmt_count(len(look.guests), 'guest')}{': ' if counted else ''}{counted}"
    second = (
        f"private {fmt_bytes(private or 0)}{'' if growth is None else f', {_rate(growth)}'};"
        f" {'' if calls is None else f'{calls:,} calls/s; '}CP {cp.pid}: {cpu}{memory} private"
    )
    return [style.paint(first[:columns], "bold"), second[:columns]]


def _segment_lines(look: SystemActivity, style: Style) -> list[str]:
    columns = (
        Column("SEGMENT", min_width=8, gap=_GAP),
        Column("SIZE", right=True, min_width=9, gap=_GAP),
        Column("IN MEMORY", right=True, gap=_GAP),
        Column("LOADED BY", right=True, gap=_GAP),
    )
    rows = tuple(
        (text_cell(each.name), bytes_cell(each.bytes), bytes_cell(each.resident_bytes), count_cell(each.guests))
        for each in look.segments[:_SEGMENTS_SHOWN]
    )
    lines = render_block(Table(columns, rows), style)
    more = len(look.segments) - _SEGMENTS_SHOWN
    return [*lines, style.paint(f"and {more} more", "dim")] if more > 0 else lines


def _columns(columns: int) -> tuple[Column, ...]:
    wide = (Column("ENGINE", min_width=8, gap=_GAP), Column("PROCESS", right=True, gap=_GAP))

    return (
        Column("GUEST", min_width=8, gap=_GAP),
        *(wide if columns >= _WIDE else ()),
        Column("STATE", min_width=10, gap=_GAP),
        Column("PRIVATE", right=True, min_width=9, gap=_GAP),
        Column("GROWTH", right=True, min_width=11, gap=_GAP),
        Column("CALLS/S", right=True, min_width=7, gap=_GAP),
        Column("RESTARTS", right=True, gap=_GAP),
        Column("SEGMENTS", gap=_GAP),
    )


def _row(guest: GuestActivity, columns: int) -> Row:
    wide = (text_cell(guest.engine), Cell(str(guest.pid or _NONE), guest.pid)) if columns >= _WIDE else ()
    growth, calls = guest.growth_bytes_per_second, guest.hypercalls_per_second
    has_memory = guest.pid is not None or guest.private_bytes is not None
    return (
        text_cell(guest.name),
        *wide,
        text_cell(guest.state),
        bytes_cell(guest.private_bytes) if has_memory else Cell(_NONE, None),
        Cell(_NONE if growth is None else _rate(growth), growth),
        Cell(_NONE if calls is None else f"{calls:,.1f}", calls),
        Cell(str(guest.restarts), guest.restarts),
        Cell(" ".join(guest.segments) or _NONE, None),
    )


def _rate(bytes_per_second: float) -> str:
    size = fmt_bytes(abs(round(bytes_per_second)))
    return "0 B/s" if not round(bytes_per_second) else f"{'+' if bytes_per_second > 0 else '-'}{size}/s"


def _choice_line(choice: TopChoice, style: Style, columns: int) -> str:
    text = f"guests by {_SORTED_BY[choice.sort]}{', reversed' if choice.ascending else ''}"
    if choice.wanted and choice.typed is None:
        text += f", filter {choice.wanted}"
    return style.paint(text[:columns], "dim")


def _foot(choice: TopChoice, style: Style, columns: int) -> str:
    if choice.typed is not None:
        return style.paint(f"filter: {choice.typed}_  (Enter keeps it, Esc leaves it)"[:columns], "bold")
    return style.paint(_KEYS[:columns], "dim")
