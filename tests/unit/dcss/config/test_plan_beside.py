"""A plan that is made in a process of its own is the same one, and so is what is wrong with it."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from dcss.config.beside import PlanBeside
from dcss.config.document import read_document
from dcss.config.load import load_plan
from dcss.config.plan import SystemPlan
from dcss.errors import ConfigError

CONFIGS = Path(__file__).parents[4] / "configs"
WRONG = "system: demo\nsegments: []\nguests: [{name: A, count: 0, bad: 1}]\n"


def made_beside(path: Path) -> SystemPlan:
    with PlanBeside(read_document(path), path) as planning:
        return planning.result()


def children() -> set[str]:
    return set((Path("/proc/self/task") / str(os.getpid()) / "children").read_text().split())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_plan_is_the_one_that_this_process_would_make(path: Path) -> None:
    before = children()
    assert made_beside(path) == load_plan(path)
    assert children() <= before  # what other tests left may end meanwhile


@pytest.mark.parametrize("trouble", ["none", "no process", "the process fails"])
def test_what_is_wrong_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text(WRONG)
    with pytest.raises(ConfigError) as expected:
        load_plan(path)

    def refused(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    if trouble == "no process":
        monkeypatch.setattr(os, "fork", refused)
    elif trouble == "the process fails":
        monkeypatch.setattr(pickle, "dumps", refused)
    with pytest.raises(ConfigError) as found:
        made_beside(path)
    assert found.value.findings == expected.value.findings
    assert found.value.findings


def test_a_plan_that_nobody_asks_for_leaves_nothing() -> None:
    path, before = CONFIGS / "demo.yaml", children()
    descriptors = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(KeyError), PlanBeside(read_document(path), path):
        raise KeyError
    assert children() <= before  # what other tests left may end meanwhile
    assert sorted(Path("/proc/self/fd").iterdir()) == descriptors
