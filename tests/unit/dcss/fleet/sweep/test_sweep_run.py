"""A sweep's run: which tries become rows, with workers that fail, are lost, come late, or have another version."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from dcss.config.load_sweep import Configuration, SweepPlan
from dcss.errors import LaunchError
from dcss.fleet.hosts import HostAnswer, Task
from dcss.fleet.sweep.results import sweep_columns
from dcss.fleet.sweep.run import SweepRun
from dcss.fleet.sweep.workers import Workers
from dcss.fleet.tasks import tell_facts
from dcss.progress import SilentProgress
from dcss.version import VERSION

Behaviour = Callable[[str, str], HostAnswer]  # by the worker and the kernel


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tmp_path.chmod(0o700)


def answered(outcome: str = "done", exit_status: int = 0) -> HostAnswer:
    value = {"outcome": outcome, "exit_status": exit_status, "error": None, "dcss": VERSION, "seconds": 1.0}
    return HostAnswer(value)


class FakeHosts:
    """Hosts whose tasks do what the test says."""

    def __init__(
        self, names: list[str], behaviour: Behaviour, node: str = "n", versions: Mapping[str, str] = {}
    ) -> None:
        self.names = names
        self._behaviour, self._node, self._versions = behaviour, node, versions
        self._lock = Lock()
        self.running: dict[str, int] = {}
        self.most_at_once = 0

    def call(self, task: Task, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, HostAnswer]:
        if task is tell_facts:
            facts = {name: {"version": self._versions.get(name, VERSION), "node": self._node} for name in arguments}
            return {name: HostAnswer(fact) for name, fact in facts.items()}
        ((worker, (_, order)),) = arguments.items()
        with self._lock:
            self.running[worker] = self.running.get(worker, 0) + 1
            self.most_at_once = max(self.most_at_once, self.running[worker])
        try:
            return {worker: self._behaviour(worker, order["words"][1])}
        finally:
            with self._lock:
                self.running[worker] -= 1

    def feed(self, task: Task, orders: Mapping[str, Iterator[tuple[Any, ...]]]) -> Iterator[tuple[str, HostAnswer]]:
        raise AssertionError(f"{task.__name__} on {sorted(orders)}: no kernel is an image")

    def call_beside(self, task: Task, *arguments: object) -> None:
        pass

    def close(self) -> None:
        pass


def plan_of(count: int, retries: int = 0) -> SweepPlan:
    configurations = tuple(
        Configuration(number, 1, {"kernel": f"k{number}"}, f"d{number}", {"kernel": f"k{number}"})
        for number in range(count)
    )
    return SweepPlan("s", "kernel-test", Path("/"), ("kernel",), configurations, retries, None, 1)


def rows_of(plan: SweepPlan, hosts: FakeHosts, at_once: int = 1) -> dict[str, dict[str, Any]]:
    found = list(SweepRun(plan, plan.configurations, Workers(hosts, at_once, SilentProgress())).rows())
    assert len({row["digest"] for row in found}) == len(found)
    return {row["kernel"]: row for row in found}


def test_each_configuration_becomes_one_row_with_all_columns() -> None:
    plan = plan_of(20)
    hosts = FakeHosts(["a", "b"], lambda *_: answered())
    rows = rows_of(plan, hosts)
    assert len(rows) == 20
    assert all(tuple(row) == sweep_columns("kernel-test", ("kernel",)) for row in rows.values())
    assert hosts.most_at_once == 1
    assert {(row["at_once"], row["host_at_once"]) for row in rows.values()} == {(1, 2)}  # both on one node


def test_what_fails_is_tried_again_as_often_as_it_says() -> None:
    tries: dict[str, int] = {}

    def behave(_: str, kernel: str) -> HostAnswer:
        tries[kernel] = tries.get(kernel, 0) + 1
        if kernel == "k0":
            return answered("timed-out", -15)
        if kernel == "k1" and tries[kernel] < 3:
            return answered("failed", 3)
        return answered("failed", 2) if kernel == "k2" else answered("done", 1)

    rows = rows_of(plan_of(4, retries=2), FakeHosts(["a"], behave))
    assert {kernel: (row["outcome"], row["attempts"]) for kernel, row in rows.items()} == {
        "k0": ("timed-out", 3),
        "k1": ("done", 3),
        "k2": ("failed", 1),  # a wrong configuration stays wrong
        "k3": ("done", 1),
    }


def test_a_lost_worker_s_configuration_goes_to_another_and_one_that_loses_all_is_given_up() -> None:
    def behave(worker: str, kernel: str) -> HostAnswer:
        if worker == "a":
            hosts.names = ["b"]
            return HostAnswer(None, "lost its worker")
        return HostAnswer(None, "lost its worker") if kernel == "k1" else answered()

    hosts = FakeHosts(["a", "b"], behave)
    rows = rows_of(plan_of(6), hosts)
    assert {kernel: row["outcome"] for kernel, row in rows.items() if row["outcome"] != "done"} == {"k1": "lost"}
    assert rows["k1"]["error"] == "lost its worker"
    assert {row["host_at_once"] for row in rows.values()} == {1}  # one that is lost disturbs nobody
    assert {row["worker"] for row in rows.values()} == {"b"}


def test_without_workers_the_sweep_ends_and_says_what_is_left() -> None:
    def behave(*_: str) -> HostAnswer:
        hosts.names = []
        return HostAnswer(None, "lost its worker")

    hosts = FakeHosts(["a"], behave)
    with pytest.raises(LaunchError, match="no worker is left, 3 configurations are left"):
        rows_of(plan_of(3), hosts)


def test_workers_of_another_version_are_refused_and_both_are_named() -> None:
    hosts = FakeHosts(["a", "b"], lambda *_: answered(), versions={"b": "9.9"})
    with pytest.raises(LaunchError, match=rf"host b has dcss 9\.9, this machine {VERSION}"):
        rows_of(plan_of(2), hosts)


def test_one_that_comes_later_works_too_unless_it_has_another_version() -> None:
    def behave(worker: str, _: str) -> HostAnswer:
        hosts.names = ["a", "late", "other"]
        return HostAnswer(None, "wrong worker") if worker == "other" else answered()

    hosts = FakeHosts(["a"], behave, versions={"other": "9.9"})
    rows = rows_of(plan_of(50), hosts, at_once=1)
    assert {row["worker"] for row in rows.values()} <= {"a", "late"}
    assert {row["outcome"] for row in rows.values()} == {"done"}
