"""Every benchmark can be loaded, has a place in the documentation, and is guarded."""

import inspect
from pathlib import Path

import pytest

from benchmarks.cases.ext2.case import SUBJECTS
from benchmarks.cases.ext2.subject import Subject
from benchmarks.cli import BASELINE, DOCS, RESULTS
from benchmarks.framework.guard import read_baseline
from benchmarks.framework.results import Results
from benchmarks.registry import BENCHMARKS, load
from benchmarks.report.pages import fill, sections
from benchmarks.report.plots import write_plots


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_can_be_loaded(name: str) -> None:
    assert callable(load(name))


def test_the_documentation_has_a_place_for_each_and_for_no_other() -> None:
    placed = [name for page in DOCS.glob("*.md") for name in fill(page.read_text(), {})[1]]
    assert sorted(placed) == sorted([*BENCHMARKS, "machine"])


def test_the_documentation_shows_the_results_that_are_stored(tmp_path: Path) -> None:
    results = Results.read(RESULTS)
    contents = sections(results, write_plots(results, tmp_path / "plots"))
    pages = [page for page in DOCS.glob("*.md") if fill(page.read_text(), contents)[0] != page.read_text()]
    assert pages == [], "`python -m benchmarks render` writes them again"


def test_the_baseline_knows_each_that_runs_in_quick_mode_and_no_other() -> None:
    known = {key.partition("/")[0] for key in read_baseline(BASELINE)["quick"]}
    assert known == set(BENCHMARKS) - {"qemu", "linux-boot", "debian-programs"}


@pytest.mark.parametrize("kind", SUBJECTS, ids=lambda kind: kind.name)
def test_each_implementation_of_ext2_can_do_all_that_is_asked_of_it(kind: type[Subject]) -> None:
    assert not inspect.isabstract(kind)
