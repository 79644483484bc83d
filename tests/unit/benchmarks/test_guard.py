"""The regression guard: it fails on a clear loss, and says row, found and wanted; it passes on noise."""

from pathlib import Path

import pytest
from benchmark_support import growth, row, run_of

from benchmarks.framework.guard import Finding, Outcome, Wanted, check, read_baseline, record, write_baseline
from benchmarks.framework.results import Results

QUIET = row(dcss=[1.0, 1.02, 0.98], bare=[0.5, 0.5, 0.5])


def only(results: Results, baseline: dict[str, Wanted]) -> Finding:
    (finding,) = check(results, baseline)
    return finding


def test_a_run_holds_against_itself() -> None:
    finding = only(run_of(QUIET), record([run_of(QUIET)]))
    assert (finding.outcome, finding.fails) == ("held", False)


def test_twice_the_ratio_is_a_loss_that_names_row_found_and_wanted() -> None:
    finding = only(run_of(row(dcss=[2.0, 2.1, 1.9], bare=[0.5, 0.5, 0.5])), record([run_of(QUIET)]))
    assert finding.fails
    for part in ("made-up/ready / bare", "found 4.00 [3.90-4.10]", "wanted at most 3.20 (2.00 and 60%)", "baseline"):
        assert part in finding.message


def test_a_lenient_check_lets_pass_what_a_strict_one_does_not() -> None:
    slow, baseline = run_of(row(dcss=[2.0, 2.1, 1.9], bare=[0.5, 0.5, 0.5])), record([run_of(QUIET)])
    assert [finding.fails for finding in check(slow, baseline)] == [True]
    assert [finding.fails for finding in check(slow, baseline, lenience=2)] == [False]
    assert [finding.fails for finding in check(slow, baseline, lenience=1.5)] == [True]


def test_a_machine_of_half_the_speed_is_no_loss() -> None:
    slow = row(dcss=[20.0, 20.4, 19.6], bare=[10.0, 10.0, 10.0])
    assert only(run_of(slow), record([run_of(QUIET)])).outcome == "held"


def test_one_slow_round_is_noise() -> None:
    noisy = row(dcss=[1.0, 9.0, 1.0], bare=[0.5, 0.5, 0.5])
    assert only(run_of(noisy), record([run_of(QUIET)])).outcome == "held"


@pytest.mark.parametrize(("ours", "outcome"), [(1.1, "held"), (1.3, "lost")])
def test_memory_is_guarded_more_closely_than_time(ours: float, outcome: Outcome) -> None:
    baseline = record([run_of(row(kind="memory", dcss=[1.0], bare=[1.0]))])
    assert only(run_of(row(kind="memory", dcss=[ours], bare=[1.0])), baseline).outcome == outcome


def test_the_spread_between_recorded_runs_widens_the_tolerance() -> None:
    runs = [run_of(row(dcss=[ours], bare=[1.0])) for ours in (1.0, 2.0, 3.0)]
    assert only(run_of(row(dcss=[4.5], bare=[1.0])), record(runs)).outcome == "held"
    assert only(run_of(row(dcss=[5.5], bare=[1.0])), record(runs)).outcome == "lost"


def test_every_recorded_run_holds() -> None:
    runs = [run_of(row(dcss=[ours] * 3, bare=[1.0] * 3)) for ours in (1.0, 1.0, 1.0, 1.0, 4.0)]
    assert [only(run, record(runs)).outcome for run in runs] == ["held"] * 5


def test_a_row_without_a_baseline_is_named_and_passes() -> None:
    finding = only(run_of(QUIET), {})
    assert (finding.outcome, finding.fails) == ("unknown", False)
    assert "found 2.00, and no baseline" in finding.message


def test_a_row_that_is_gone_fails() -> None:
    finding = only(run_of(), record([run_of(QUIET)]))
    assert (finding.outcome, finding.fails) == ("gone", True)


def test_a_row_of_a_benchmark_that_was_not_asked_for_is_not_missed() -> None:
    assert check(Results("quick", {}), record([run_of(QUIET)])) == []


def test_what_this_machine_cannot_measure_passes_with_its_reason() -> None:
    finding = only(run_of(row(dcss=[1.0], skipped={"bare": "needs root"})), record([run_of(QUIET)]))
    assert (finding.outcome, finding.fails) == ("not measured", False)
    assert "needs root" in finding.message


@pytest.mark.parametrize(("power", "outcome"), [(1.0, "held"), (1.25, "held"), (2.0, "lost")])
def test_an_exponent_clearly_above_the_baseline_is_a_loss(power: float, outcome: Outcome) -> None:
    linear = run_of(growths=[growth({size: float(size) for size in (10, 100, 1000)})])
    grown = run_of(growths=[growth({size: float(size) ** power for size in (10, 100, 1000)})])
    assert only(grown, record([linear])).outcome == outcome


def test_a_growth_that_could_not_be_measured_passes_with_its_reason() -> None:
    linear = run_of(growths=[growth({size: float(size) for size in (10, 100)})])
    finding = only(run_of(growths=[growth({}, skipped="needs 9 GiB")]), record([linear]))
    assert (finding.outcome, finding.fails) == ("not measured", False)


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    baselines = {"quick": record([run_of(QUIET)]), "full": {"made-up/ready / bare": Wanted(1.5, 0.2)}}
    write_baseline(tmp_path / "baseline.json", baselines)
    assert read_baseline(tmp_path / "baseline.json") == baselines
    assert read_baseline(tmp_path / "none.json") == {}
