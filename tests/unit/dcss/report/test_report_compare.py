"""A comparison as table, CSV and plot."""

import csv
import re
from dataclasses import replace
from io import StringIO

from dcss.documents import from_document, to_document
from dcss.report.compare_plot import comparison_plot
from dcss.report.compare_view import compare_page
from dcss.report.csv_rows import print_csv
from dcss.report.layout import render_page
from dcss.report.style import Style
from dcss.results import ComparisonResult, WayGuest, WayResult

MIB = 1 << 20


def way(name: str, private_mib: int, copies_mib: int) -> WayResult:
    guests = tuple(
        WayGuest(f"G{number}", 0.5 + number, 0.25, private_mib * MIB, copies_mib * MIB, 8 * MIB) for number in (1, 2)
    )
    memory_bytes = (2 * private_mib + 16) * MIB
    return WayResult(name, "verified", None, 2.5, 0.5, 2 * private_mib * MIB, 16 * MIB, None, memory_bytes, guests)


RESULT = ComparisonResult(
    "demo",
    3,
    (
        way("xip", 1, 0),
        way("page-cache", 9, 8),
        WayResult("ksm", None, "only root starts KSM", None, None, None, None, None, None, ()),
    ),
)


def text(*, show_all: bool = False) -> str:
    return render_page(compare_page(RESULT, show_all=show_all), Style())


def test_a_line_for_each_way_and_a_reason_for_each_that_was_not_run() -> None:
    lines = text().splitlines()
    assert "medians of 3 rounds" in lines[0]
    found = re.split(r"\s{2,}", next(line for line in lines if "page-cache" in line).strip())
    assert found[1:] == [
        *("page-cache", "2.500 s", "0.500 s", "18.0 MiB +", "16.0 MiB =", "34.0 MiB", "9.0 MiB", "8.0 MiB"),
    ]
    assert "not by ksm: only root starts KSM" in text()
    assert "G1" not in text()


def test_each_guest_pays_by_each_way() -> None:
    rows = [line.split()[:2] for line in text(show_all=True).splitlines() if line.startswith("G")]
    assert rows[1:] == [["G1", "xip"], ["G1", "page-cache"], ["G2", "xip"], ["G2", "page-cache"]]


def test_csv_has_the_same_figures() -> None:
    ways = {row["way"]: row for row in as_csv("ways")}
    assert list(ways) == ["xip", "page-cache", "ksm"]
    assert ways["page-cache"]["private_bytes"] == str(18 * MIB)
    assert (ways["ksm"]["ready_seconds"], ways["ksm"]["reason"]) == ("", "only root starts KSM")
    guests = as_csv("guests")
    assert [(row["way"], row["name"]) for row in guests] == [
        *(("xip", "G1"), ("xip", "G2"), ("page-cache", "G1"), ("page-cache", "G2")),
    ]
    assert sum(int(row["copies_bytes"]) for row in guests if row["way"] == "page-cache") == 16 * MIB


def as_csv(table: str) -> list[dict[str, str]]:
    stream = StringIO()
    print_csv(RESULT.rows(table), RESULT.columns(table), stream)
    return list(csv.DictReader(StringIO(stream.getvalue())))


def test_the_plot_is_the_same_for_the_same_result_and_names_each_way_that_was_run() -> None:
    plot = comparison_plot(RESULT)
    assert plot == comparison_plot(RESULT)
    assert b"page-cache" in plot
    assert b"ksm" not in plot
    assert b"<svg" in plot


def test_a_plot_without_a_way_is_a_plot() -> None:
    assert b"<svg" in comparison_plot(replace(RESULT, ways=RESULT.ways[2:]))


def test_the_document_comes_back() -> None:
    assert from_document(ComparisonResult, to_document(RESULT)) == RESULT
