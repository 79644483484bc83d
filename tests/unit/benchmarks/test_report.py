"""Tables, plots, and pages that keep what was written by hand."""

from pathlib import Path

import pytest
from benchmark_support import growth, row, run_of

from benchmarks.report.pages import fill, sections, write_pages
from benchmarks.report.plots import write_plots
from benchmarks.report.tables import comparison, number
from benchmarks.report.tables import growth as growth_table

PAGE = """# Title

By hand.

<!-- benchmark made-up -->
old
<!-- end of benchmark made-up -->

More by hand.
"""


def test_a_cell_has_median_quartiles_and_ratio() -> None:
    table = comparison([row(dcss=[1.0, 2.0, 3.0], bare=[0.5, 1.0, 1.5])])
    assert "| ready, s | 2.00 [1.50–2.50] | 1.00 [0.75–1.25], **2.00** |" in table
    assert "- *ready*: all." in table


def test_what_was_not_measured_stays_in_with_its_reason() -> None:
    table = comparison([row(dcss=[1.0], skipped={"loop mounts": "needs root"})])
    assert "| ready, s | 1.00 | not measured |" in table
    assert "- *loop mounts*, not measured: needs root." in table


def test_a_target_that_was_missed_is_shown() -> None:
    made = row(dcss=[3.0], bare=[1.0])
    table = comparison([type(made)(**vars(made) | {"wanted_ratio": ("bare", 1.6)})])
    assert "1.6 times bare: **missed**" in table


def test_growth_says_whether_it_is_linear() -> None:
    table = growth_table([growth({1: 1.0, 10: 10.0, 100: 100.0}), growth({1: 1.0, 10: 100.0, 100: 10000.0})])
    assert "| time | files | 1.00 s at 1 | 100 s at 100 | 1.00 | yes |" in table
    assert "| 2.00 | **no** |" in table


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (0.0, "0.00"), (0.0123, "0.012")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_text_around_the_markers_stays() -> None:
    text, placed = fill(PAGE, {"made-up": "new"})
    assert text == PAGE.replace("old", "new")
    assert placed == {"made-up"}


def test_filling_again_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    assert write_pages(tmp_path, {"made-up": "new"}) == [tmp_path / "page.md"]
    assert write_pages(tmp_path, {"made-up": "new"}) == []


def test_a_benchmark_that_did_not_run_keeps_its_text() -> None:
    assert fill(PAGE, {})[0] == PAGE


def test_a_benchmark_without_a_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no place for other"):
        write_pages(tmp_path, {"other": "text"})


def test_plots_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    results = run_of(row(dcss=[1.0, 2.0], bare=[1.0, 1.0]), growths=[growth({1: 1.0, 10: 9.0})])
    names = write_plots(results, tmp_path / "plots")
    assert names == {"made-up": ["plots/made-up.svg", "plots/made-up-growth.svg"]}
    before = [(tmp_path / name).read_bytes() for name in names["made-up"]]
    write_plots(results, tmp_path / "plots")
    assert [(tmp_path / name).read_bytes() for name in names["made-up"]] == before
    assert all(content.startswith(b"<?xml") for content in before)
    assert "![made up](plots/made-up.svg)" in sections(results, names)["made-up"]
