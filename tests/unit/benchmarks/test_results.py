"""Samples, ratios, exponents, and results as JSON."""

from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_support import growth, row, run_of

from benchmarks.framework.results import Results
from benchmarks.framework.stats import Spread, exponent, ratios, upper_range


def test_spread_is_median_and_quartiles() -> None:
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == (3.0, 2.0, 4.0)
    assert Spread.of([7.0]) == (7.0, 7.0, 7.0)


def test_ratios_are_of_the_same_round() -> None:
    assert ratios([2.0, 40.0], [1.0, 20.0]) == [2.0, 2.0]


def test_a_median_stands_for_rounds_that_one_side_lacks() -> None:
    assert ratios([2.0, 4.0, 6.0], [2.0]) == [1.0, 2.0, 3.0]
    assert ratios([], [2.0]) == []


def test_zero_has_no_ratio() -> None:
    assert row(dcss=[1.0], bare=[0.0]).ratio("bare") is None


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponent_of_a_power(power: float) -> None:
    found = exponent([(x, 3 * x**power) for x in (1.0, 10.0, 100.0)])
    assert found == pytest.approx(power)


def test_one_size_has_no_exponent() -> None:
    assert exponent([(10.0, 1.0)]) is None


def test_a_fixed_cost_at_small_sizes_does_not_hide_growth() -> None:
    quadratic = growth({size: 100 + size**2 for size in (1, 10, 100, 1000, 2000, 4000, 8000)})
    found = quadratic.exponent()
    assert found is not None
    assert found > 1.9
    assert quadratic.passes() is False


def test_upper_range_is_a_decade_or_three_sizes() -> None:
    assert upper_range([1, 10, 100, 200, 500, 1000]) == [100, 200, 500, 1000]
    assert upper_range([1, 10, 100]) == [1, 10, 100]


@pytest.mark.parametrize(("ours", "met"), [(1.5, True), (1.7, False)])
def test_what_is_wanted_of_a_ratio(ours: float, met: bool) -> None:
    made = row(dcss=[ours], bare=[1.0])
    assert type(made)(**vars(made) | {"wanted_ratio": ("bare", 1.6)}).met() is met


def test_both_conditions_must_be_met() -> None:
    made = row(dcss=[20.0], bare=[20.0])
    assert type(made)(**vars(made) | {"wanted_ratio": ("bare", 1.6), "wanted_most": 15.0}).met() is False


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = row(dcss=[1.0, 2.0], bare=[1.0], skipped={"loop": "needs root"})
    results = run_of(made, growths=[growth({1: 1.0, 10: 2.0})])
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results


def test_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match=r"old\.json: found another format"):
        Results.read(tmp_path / "old.json")


def test_runs_that_are_joined_once_more_name_each_machine_once() -> None:
    first, second = (
        replace(run_of(row(dcss=[1.0])), machine={"commit": commit}, seconds={commit: 1.0})
        for commit in ("a; b, with changes", "b, with changes")
    )
    assert Results.joined([first, second]).machine == {"commit": "a; b, with changes"}


def test_runs_that_are_joined_once_more_name_each_mode_once() -> None:
    full, quick = (replace(run_of(row(dcss=[1.0])), mode=mode) for mode in ("full and quick", "full"))
    assert Results.joined([full, replace(quick, seconds={"another": 1.0})]).mode == "full and quick"
