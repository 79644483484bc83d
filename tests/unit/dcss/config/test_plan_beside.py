"""A plan that is made in a process of its own is the same one, and so is what is wrong with it."""

import errno
import os
import pickle
import threading
from pathlib import Path

import pytest

from dcss.config.beside import FleetPlanBeside, PlanBeside
from dcss.config.document import read_document
from dcss.config.load import load_plan
from dcss.config.load_fleet import load_fleet
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


def test_the_plan_of_a_fleet_is_the_one_that_this_process_would_make(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    guests = "[{name: G, count: 7, after: [H]}, {name: H}]"
    path.write_text(
        f"hosts: [{{name: a, memory: 1G}}]\nsegments: [{{name: L, at: 0x20000000, size: 1M}}]\nguests: {guests}\n"
    )
    with FleetPlanBeside(path) as planning:
        assert planning.result() == load_fleet(path)


def test_a_process_of_several_threads_makes_the_plan_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        assert made_beside(CONFIGS / "demo.yaml") == load_plan(CONFIGS / "demo.yaml")
    finally:
        ended.set()
        thread.join()


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
