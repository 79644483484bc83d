"""Every benchmark can be loaded, has a place in the documentation, and is guarded."""

import pytest

from benchmarks.cli import BASELINE, DOCS
from benchmarks.framework.guard import read_baseline
from benchmarks.registry import BENCHMARKS, load
from benchmarks.report.pages import fill


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_can_be_loaded(name: str) -> None:
    assert callable(load(name))


def test_the_documentation_has_a_place_for_each_and_for_no_other() -> None:
    placed = [name for page in DOCS.glob("*.md") for name in fill(page.read_text(), {})[1]]
    assert sorted(placed) == sorted([*BENCHMARKS, "machine"])


def test_the_baseline_knows_each_that_runs_in_quick_mode_and_no_other() -> None:
    known = {key.partition("/")[0] for key in read_baseline(BASELINE)["quick"]}
    assert known == set(BENCHMARKS) - {"qemu"}
