"""What a fleet remembers between its commands, with hosts that only note what they are given."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dcss.config.load_fleet import load_fleet
from dcss.fleet import tasks
from dcss.fleet.hosts import HostAnswer, Task
from dcss.fleet.operations import Fleet, bring_up, recorded_hosts, take_down
from dcss.progress import SilentProgress
from dcss.version import VERSION

FLEET = """\
system: web
hosts: [a, b]
placement: spread
segments: [{name: LIB, at: 0x20000000, size: 16M}]
guests: [{name: G, count: 2, mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]}]
"""


class NotingHosts:
    """Hosts that do what they are asked; the `lost` ones cannot be asked to take a system down."""

    def __init__(self) -> None:
        self.names = ("a", "b")
        self.lost: set[str] = set()
        self.started: list[str] = []

    def call(self, task: Task, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, HostAnswer]:
        if task is tasks.tell_facts:
            facts = {"version": VERSION, "node": "here", "free_bytes": 1 << 40}
            return {host: HostAnswer(facts) for host in arguments}
        if task is tasks.ensure_up:
            self.started = sorted(arguments)
        answer = {"exit_status": 0, "document": {}, "error": None}
        lost = self.lost if task is tasks.take_down else set()
        return {host: HostAnswer(None, "lost its worker") if host in lost else HostAnswer(answer) for host in arguments}

    def feed(self, task: Task, orders: Mapping[str, Iterator[tuple[Any, ...]]]) -> Iterator[tuple[str, HostAnswer]]:
        raise AssertionError(f"{task.__name__} on {sorted(orders)}: no segment has an image")

    def call_beside(self, task: Task, *arguments: object) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NotingHosts:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return NotingHosts()


def test_all_hosts_come_up_again_after_a_down_that_lost_one(hosts: NotingHosts, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    fleet = Fleet(load_fleet(path), hosts)
    bring_up(fleet, None, SilentProgress())
    assert hosts.started == ["a", "b"]
    hosts.lost = {"b"}
    take_down(fleet)
    assert recorded_hosts(fleet.plan) == ["b"]  # its system may run still
    hosts.lost = set()
    bring_up(fleet, None, SilentProgress())
    assert hosts.started == ["a", "b"]
    assert recorded_hosts(fleet.plan) == ["a", "b"]
    take_down(fleet)
    assert recorded_hosts(fleet.plan) == []
