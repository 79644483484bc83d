"""The screen of `dcss top`: what is shown at each size, and what keys make of it."""

from dataclasses import replace

import pytest

from dcss.cli.key_screen import keys_of
from dcss.cli.top_keys import changed
from dcss.report.style import Style
from dcss.report.top_view import TopChoice, chosen_guests, screen_lines
from dcss.results import CpActivity, GuestActivity, SegmentActivity, SystemActivity

MIB = 1 << 20
STYLE = Style()


def guest(name: str, private: int | None, growth: float | None = 0.0, calls: float | None = 0.0) -> GuestActivity:
    state = "ready" if private is not None else "stopped"
    pid = 100 if private is not None else None
    return GuestActivity(name, "process", state, pid, private, growth, 3, calls, 0, ("LIB",) if pid else ())


LOOK = SystemActivity(
    "demo",
    "2026-05-03T10:00:00Z",
    "up",
    CpActivity(7, 0.2, 30 * MIB, 4),
    (
        guest("LINUX01", 3 * MIB, -4096.0),
        guest("LINUX02", 1 * MIB, 2.0 * MIB, 12.5),
        guest("LINUX03", None, None, None),
        guest("BASE", 2 * MIB, None, None),
    ),
    (SegmentActivity("LIB", 8 * MIB, 8 * MIB, 3),),
)


def names(choice: TopChoice) -> list[str]:
    return [each.name for each in chosen_guests(LOOK, choice)]


def typed(keys: list[str], choice: TopChoice | None = None) -> TopChoice:
    found = choice or TopChoice()
    for key in keys:
        found = changed(LOOK, found, key, 24)
    return found


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("p", ["LINUX01", "BASE", "LINUX02", "LINUX03"]),  # what is unknown comes last
        ("g", ["LINUX02", "LINUX01", "LINUX03", "BASE"]),
        ("c", ["LINUX02", "LINUX01", "LINUX03", "BASE"]),
        ("n", ["BASE", "LINUX01", "LINUX02", "LINUX03"]),
        ("no", ["LINUX03", "LINUX02", "LINUX01", "BASE"]),
        ("po", ["LINUX02", "BASE", "LINUX01", "LINUX03"]),
        ("nof", ["LINUX*3", "BASE"]),
        ("zq?", ["LINUX01", "BASE", "LINUX02", "LINUX03"]),  # keys that are none
    ],
)
def test_keys_sort_turn_and_fold(keys: str, expected: list[str]) -> None:
    assert names(typed(list(keys))) == expected


def test_a_filter_looks_at_names_states_and_segments() -> None:
    assert names(typed([*"/base"])) == ["BASE"]  # at once, while it is typed
    assert names(typed([*"/basex", "backspace", "enter", "n"])) == ["BASE"]
    assert names(typed([*"/STOP", "enter"])) == ["LINUX03"]
    assert names(typed([*"/lib", "enter", "n"])) == ["BASE", "LINUX01", "LINUX02"]
    assert names(typed([*"/base", "enter", "escape"])) == names(TopChoice())
    kept = typed([*"/base", "enter", *"/q", "escape"])
    assert (kept.wanted, kept.typed) == ("base", None)  # q was typed, and quit nothing


def test_folded_guests_are_summed() -> None:
    folded, base = chosen_guests(LOOK, TopChoice(folded=True))
    assert (folded.name, folded.private_bytes, folded.hypercalls_per_second) == ("LINUX*3", 4 * MIB, 12)
    assert folded.state == "ready/stopped"
    assert base.name == "BASE"


def test_the_screen_at_80_by_24() -> None:
    lines = screen_lines(LOOK, TopChoice(), STYLE, 80, 24)
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    assert lines[0] == "demo: up, 4 guests: 3 ready, 1 stopped"
    assert lines[1] == "private 6.0 MiB, +2.0 MiB/s; 12 calls/s; CP 7: 0.2 % CPU, 30.0 MiB private"
    assert lines[3:5] == ["SEGMENT        SIZE  IN MEMORY  LOADED BY", "LIB         8.0 MiB    8.0 MiB          3"]
    assert lines[6:12] == [
        "guests by private memory",
        "GUEST     STATE         PRIVATE       GROWTH  CALLS/S  RESTARTS  SEGMENTS",
        "LINUX01   ready         3.0 MiB   -4.0 KiB/s      0.0         0  LIB",
        "BASE      ready         2.0 MiB            -        -         0  LIB",
        "LINUX02   ready         1.0 MiB   +2.0 MiB/s     12.5         0  LIB",
        "LINUX03   stopped             -            -        -         0  -",
    ]
    assert lines[-1] == "q quit  p g c r n sort  o reverse  / filter  f fold  s segments  up down scroll"


def test_a_wide_screen_has_engines_and_processes() -> None:
    lines = screen_lines(LOOK, TopChoice(), STYLE, 200, 60)
    assert len(lines) == 60
    assert lines[7].split()[:4] == ["GUEST", "ENGINE", "PROCESS", "STATE"]
    assert lines[8].split()[:4] == ["LINUX01", "process", "100", "ready"]


def test_more_guests_than_rows_are_scrolled() -> None:
    many = replace(LOOK, guests=tuple(guest(f"G{number:03}", (1000 - number) * MIB) for number in range(100)))
    lines = screen_lines(many, TopChoice(), STYLE, 80, 24)
    assert len(lines) == 24
    assert lines[8].startswith("G000")
    assert lines[-2] == "86 more rows: scroll, fold or filter"
    choice = TopChoice()
    for _ in range(20):
        choice = changed(many, choice, "page-down", 24)
    lines = screen_lines(many, choice, STYLE, 80, 24)
    assert lines[-3].startswith("G099")
    lines = screen_lines(many, changed(many, choice, "up", 24), STYLE, 80, 24)
    assert lines[-3].startswith("G098")  # at once, however often Page Down was pressed


@pytest.mark.parametrize("rows", range(1, 12))
@pytest.mark.parametrize("columns", [1, 20, 80])
def test_no_size_is_too_small(columns: int, rows: int) -> None:
    lines = screen_lines(LOOK, TopChoice(), STYLE, columns, rows)
    assert len(lines) <= rows


def test_keys_come_by_name_and_other_sequences_are_left_out() -> None:
    assert keys_of(b"q\x1b[A\x1b[6~\x1b[1;5C/a\r\x7f\x1b") == [
        *("q", "up", "page-down", "/", "a", "enter", "backspace", "escape")
    ]
    assert keys_of("é".encode()) == []
