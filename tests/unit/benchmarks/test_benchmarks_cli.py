"""The command line of benchmarks: what fails, what is written, and what is said."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_support import growth, row, run_of
from click.testing import CliRunner, Result

from benchmarks import cli
from benchmarks.framework.guard import read_baseline, record, write_baseline
from benchmarks.framework.results import Growth, Results, Row
from benchmarks.framework.session import Session

GOOD = row(dcss=[1.0, 1.0], bare=[0.5, 0.5])
BAD = row(dcss=[9.0, 9.0], bare=[0.5, 0.5])


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a baseline of the mode quick, in which our ratio is 2."""
    path = tmp_path / "baseline.json"
    write_baseline(path, {"quick": record([run_of(GOOD)])})
    monkeypatch.setattr(cli, "BASELINE", path)
    return path


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words])


@pytest.mark.usefixtures("baseline")
def test_check_passes_on_what_is_as_good(tmp_path: Path) -> None:
    run_of(GOOD).write(tmp_path / "good.json")
    result = call("check", tmp_path / "good.json")
    assert result.exit_code == 0
    assert result.output == "1 figures as good as in the baseline, 0 clearly worse\n"


@pytest.mark.usefixtures("baseline")
def test_check_fails_on_a_loss_and_names_it(tmp_path: Path) -> None:
    run_of(BAD).write(tmp_path / "bad.json")
    result = call("check", tmp_path / "bad.json")
    assert result.exit_code == 1
    assert "lost: made-up/ready / bare: found 18.0" in result.output
    assert "1 clearly worse" in result.output


def test_a_new_baseline_is_recorded_beside_those_of_other_modes(tmp_path: Path, baseline: Path) -> None:
    full = Results("full", {}, (BAD,), (growth({1: 1.0, 10: 10.0}),), {"made-up": 1.0})
    full.write(tmp_path / "full.json")
    assert call("baseline", tmp_path / "full.json").exit_code == 0
    assert set(read_baseline(baseline)) == {"quick", "full"}
    assert call("check", tmp_path / "full.json").exit_code == 0


@pytest.mark.usefixtures("baseline")
def test_runs_of_two_modes_are_no_baseline(tmp_path: Path) -> None:
    run_of(GOOD).write(tmp_path / "quick.json")
    Results("full", {}).write(tmp_path / "full.json")
    result = call("baseline", tmp_path / "quick.json", tmp_path / "full.json")
    assert result.exit_code == 2
    assert "found runs of the modes full, quick, wanted runs of one mode" in result.output


def test_benchmarks_that_were_run_one_by_one_are_joined(tmp_path: Path) -> None:
    other = replace(GOOD, benchmark="other")
    Results("full", {"cores": "2", "commit": "a"}, (BAD,), (), {"made-up": 1.0}).write(tmp_path / "1.json")
    Results("full", {"cores": "2", "commit": "b"}, (other,), (), {"other": 3.0}).write(tmp_path / "2.json")
    Results("full", {"cores": "2", "commit": "b"}, (GOOD,), (), {"made-up": 2.0}).write(tmp_path / "3.json")
    parts = [tmp_path / f"{number}.json" for number in (1, 2, 3)]
    assert call("join", *parts, "--output", tmp_path / "all.json").exit_code == 0
    seconds = {"made-up": 2.0, "other": 3.0}
    runs = {"made-up": "mode full; commit b", "other": "mode full; commit b"}
    joined = Results("full", {"cores": "2", "commit": "a; b"}, (GOOD, other), (), seconds, runs)
    assert Results.read(tmp_path / "all.json") == joined
    run_of(GOOD).write(tmp_path / "quick.json")
    assert (
        call("join", tmp_path / "all.json", tmp_path / "quick.json", "--output", tmp_path / "all.json").exit_code == 0
    )
    mixed = Results.read(tmp_path / "all.json")
    assert mixed.mode == "full and quick"
    assert mixed.runs == {"made-up": "mode quick", "other": "mode full; commit b"}


def test_a_benchmark_that_fails_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> Callable[[Session], Sequence[Row | Growth]]:
        def run(_: Session) -> Sequence[Row | Growth]:
            if name == "start":
                raise RuntimeError("no guest was ready")
            return [GOOD]

        return run

    monkeypatch.setattr(cli, "load", load)
    output = tmp_path / "results.json"
    result = call("run", "--mode", "quick", "--only", "start", "--only", "commands", "--output", output)
    assert result.exit_code == 1
    assert "no guest was ready" in result.output
    assert result.output.endswith("failed: start\n")
    found = Results.read(output)
    assert found.rows == (GOOD,)
    assert list(found.seconds) == ["commands"]
