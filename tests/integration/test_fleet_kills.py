"""A fleet on workers of Dask of which something is killed in the middle of a step: the same command again converges."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from cli_support import GUEST, MAP, Dcss
from dask_support import Dask

Victim = Literal["worker", "cp", "scheduler", "client"]
VICTIMS: tuple[Victim, ...] = ("worker", "cp", "scheduler", "client")
HOSTS = ("a", "b")
CP = "dcss:cp"
INTO_UP_SECONDS = 1.5  # segments are sent then, and systems start


class Cluster:
    """A scheduler and a worker for each host, and the fleet that they run."""

    def __init__(self, dcss: Dcss) -> None:
        self.dcss = dcss
        self.name = f"k{os.getpid()}"
        self.path = dcss.home / "fleet.yaml"
        self.path.write_text(
            f"system: {self.name}\nhosts: [{', '.join(HOSTS)}]\nplacement: spread\n"
            "segments: [{name: LIB, at: 0x20000000, image: {directory: tree}}]\n"
            f"guests: [{{name: G, count: 2, {GUEST}, {MAP}}}]\n"
        )
        dcss.own(self.path)
        self.restart()

    def restart(self) -> None:
        self.dask = Dask(self.dcss)
        self.workers = {host: self.dask.worker(host) for host in HOSTS}

    def words(self, command: str) -> tuple[str | Path, ...]:
        return ("fleet", command, self.path, "--scheduler", self.dask.address)

    def fleet(self, command: str) -> Any:
        return self.dcss.json(*self.words(command), timeout_seconds=110)

    def objects(self) -> list[str]:
        return [path.name for path in Path("/dev/shm").glob(f"dcss.{self.name}-*")]

    def processes(self, host: str) -> dict[int, str]:
        """Return what runs on a host besides its worker."""
        found = self.dcss.processes(self.dcss.home / f"{host}-r")
        return {pid: name for pid, name in found.items() if pid != self.workers[host].pid}

    def kill(self, victim: Victim, client: int) -> None:
        match victim:
            case "worker":
                self.workers["b"].kill()
            case "scheduler":
                self.dask.kill_scheduler()
            case "client":
                os.kill(client, signal.SIGKILL)
            case "cp":
                for pid, name in self.processes("b").items():
                    if name == CP:
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)

    def repair(self, victim: Victim) -> None:
        """Start again what was killed, as whoever runs the cluster would."""
        if victim == "worker":
            self.workers["b"].wait()
            self.workers["b"] = self.dask.worker("b")
        elif victim == "scheduler":
            self.dask.close()
            self.restart()


@pytest.fixture
def cluster(dcss: Dcss) -> Iterator[Cluster]:
    running = Cluster(dcss)
    try:
        yield running
    finally:
        running.dask.close()


def kill_during_up(cluster: Cluster, victim: Victim) -> None:
    """Kill something in the middle of `up`, and have the next `up` and `verify` find all in order."""
    client = cluster.dcss.start(*cluster.words("up"), "--json")
    time.sleep(INTO_UP_SECONDS)
    cluster.kill(victim, client.pid)
    client.communicate(timeout=100)
    cluster.repair(victim)
    up = cluster.fleet("up")
    assert {host["host"]: len(host["document"]["guests"]) for host in up["hosts"]} == {"a": 1, "b": 1}
    assert cluster.fleet("verify")["verdict"] == "verified"
    pids = {host["document"]["pid"] for host in up["hosts"]}
    again = cluster.fleet("up")
    assert [host["adopted"] for host in again["hosts"]] == [True, True]
    assert {host["document"]["pid"] for host in again["hosts"]} == pids


def assert_down_leaves_nothing(cluster: Cluster) -> None:
    cluster.fleet("down")
    assert cluster.objects() == []
    for host in HOSTS:
        assert cluster.processes(host) == {}
        assert list((cluster.dcss.home / f"{host}-r" / "dcss").glob(f"{cluster.name}-*")) == []


@pytest.mark.slow
@pytest.mark.minutes
@pytest.mark.parametrize("victim", VICTIMS)
def test_what_is_killed_while_the_fleet_comes_up_is_made_good(cluster: Cluster, victim: Victim) -> None:
    kill_during_up(cluster, victim)
    assert_down_leaves_nothing(cluster)
