"""Pages that are shown again and again: they fit the terminal, and say what they leave out."""

import re
from dataclasses import replace

import pytest
from results_support import made_up_run

from dcss.report.layout import render_page
from dcss.report.measure_view import SortKey
from dcss.report.pages import measure_frame, measure_page
from dcss.report.screen import Frame, drawn
from dcss.report.style import Style
from dcss.results import MeasureResult


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
@pytest.mark.parametrize("guests", [1, 10, 16, 17, 1000])
def test_measure_fits_the_terminal_with_its_sums_and_its_legend_once(guests: int, columns: int, rows: int) -> None:
    measure = made_up_run(guests).measure
    many = replace(measure, segments=measure.segments * 9, limits=("a reason that is told at some length " * 3,) * 4)
    for result in (measure, many):
        lines = measure_frame(result, Style(width=columns), rows, show_all=False, sort=None).lines(rows)
        assert len(lines) <= rows
        assert max(map(len, lines)) <= columns
        text = "\n".join(lines)
        assert text.count("PRIVATE is frames") == 1
        assert "\nshared counted once " in text
        assert "Saved " in text


def test_a_frame_cuts_its_body_only_and_says_so() -> None:
    frame = Frame(["head"], [str(number) for number in range(10)], ["foot"])
    assert frame.lines(12) == ["head", *map(str, range(10)), "foot"]
    assert frame.lines(5) == ["head", "0", "1", "and 8 more lines (a higher window shows them)", "foot"]
    assert len(frame.lines(1)) == 1


def test_a_frame_is_drawn_in_place_without_scrolling() -> None:
    text = drawn(Frame((), ("one", "two"), ()), 2)
    assert text.startswith("\x1b[H\x1b[J")
    assert text.count("\n") == 1
    assert text.endswith("\x1b[?7h"), "lines wrap again"


def test_the_legend_can_be_left_out() -> None:
    measure = made_up_run().measure
    assert "measured by" in render_page(measure_page(measure), Style())
    assert "measured by" not in render_page(measure_page(measure, legend=False), Style())


def shown_names(result: MeasureResult, sort: SortKey) -> list[str]:
    page = render_page(measure_page(result, sort=sort), Style())
    return re.findall(r"^([A-Z]+\d+) ", page, re.MULTILINE)


def test_guests_are_sorted_by_a_column() -> None:
    measure = made_up_run(4, 1).measure
    first, second, third, fourth, base = measure.guests
    uss = {first.name: 5, second.name: 9, third.name: None, fourth.name: 7, base.name: 7}
    changed = [replace(each, host=replace(each.host, uss_bytes=uss[each.name])) for each in measure.guests]
    result = replace(measure, guests=tuple(changed))
    assert shown_names(result, "private") == [second.name, base.name, fourth.name, first.name, third.name]
    assert shown_names(result, "guest") == sorted(uss)
    assert shown_names(result, "copies")[0] == base.name


def test_what_a_sorted_table_leaves_out_is_added_up() -> None:
    page = render_page(measure_page(made_up_run(100, 0).measure, sort="private"), Style())
    assert len(re.findall(r"^LINUX", page, re.MULTILINE)) == 15
    assert "\n85 more guests " in page
