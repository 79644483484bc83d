"""A fleet on workers of Dask of which something is killed in the middle of a step: the same command again converges."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from cli_support import GUEST, MAP, SHARED_MEMORY, Dcss, made_user
from dask_support import LOOPBACK, Dask
from namespaces_support import Namespaces, made_namespaces

Victim = Literal["worker", "cp", "scheduler", "client"]
Step = Literal["up", "verify", "measure", "down"]
VICTIMS: tuple[Victim, ...] = ("worker", "cp", "scheduler", "client")
STEPS: tuple[Step, ...] = ("up", "verify", "measure", "down")
HOSTS = ("a", "b")
CP = "dcss:cp"
KILLS = 50
PARTS = 10  # each a test with a time limit of its own: a busy machine takes more than a minute for a kill
LOOK_SECONDS = 0.01
STEP_SECONDS = 300.0  # three hosts of one busy machine come up


class Cluster:
    """A scheduler and a worker for each host, and the fleet that they run; the second host is where things happen."""

    def __init__(self, dcss: Dcss, namespaces: Namespaces | None = None) -> None:
        self.dcss = dcss
        self.namespaces = namespaces
        self.names = HOSTS if namespaces is None else tuple(namespaces.hosts)
        self.host = self.names[1]
        self.name = f"k{os.getpid()}"
        self.path = dcss.home / "fleet.yaml"
        self.path.write_text(
            f"system: {self.name}\nhosts: [{', '.join(self.names)}]\nplacement: spread\n"
            "segments: [{name: LIB, at: 0x20000000, image: {directory: tree}}]\n"
            f"guests: [{{name: G, count: {len(self.names)}, {GUEST}, {MAP}}}]\n"
        )
        dcss.own(self.path)
        self.restart()

    def restart(self) -> None:
        options = LOOPBACK if self.namespaces is None else ("--host", self.namespaces.address)
        self.dask = Dask(self.dcss, options=options)
        self.workers = {host: self.start_worker(host) for host in self.names}

    def start_worker(self, host: str) -> "subprocess.Popen[str]":
        if self.namespaces is None:
            return self.dask.worker(host)
        there = self.namespaces.hosts[host]
        return self.dask.worker(host, prefix=there.prefix, options=("--host", there.address))

    def words(self, command: str) -> tuple[str | Path, ...]:
        trust = () if self.namespaces is None else ("--trust-network",)
        return ("fleet", command, self.path, "--scheduler", self.dask.address, *trust)

    def fleet(self, command: str) -> Any:
        return self.dcss.json(*self.words(command), timeout_seconds=STEP_SECONDS)

    def objects(self) -> list[str]:
        places = [SHARED_MEMORY]
        places += [each.shared_memory for each in self.namespaces.hosts.values()] if self.namespaces else []
        return [path.name for place in places for path in place.glob(f"dcss.{self.name}-*")]

    def processes(self, host: str) -> dict[int, str]:
        """Return what runs on a host besides its worker."""
        found = self.dcss.processes(self.dcss.home / f"{host}-r")
        return {pid: name for pid, name in found.items() if pid != self.workers[host].pid}

    def cps(self) -> list[int]:
        """Return the CPs of the host that live."""
        return [pid for pid, name in self.processes(self.host).items() if name == CP]

    def is_in(self, step: Step) -> bool:
        """Return True while the step's command works on the host and a CP lives there, which `up` starts half-way."""
        found = self.processes(self.host)
        if CP not in found.values():
            return False
        for pid in found:
            with suppress(OSError):
                if f"\0dcss\0{step}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return True
        return False

    def kill(self, victim: Victim, client: int) -> None:
        match victim:
            case "worker":
                self.workers[self.host].kill()
            case "scheduler":
                self.dask.kill_scheduler()
            case "client":
                os.kill(client, signal.SIGKILL)
            case "cp":
                for pid in self.cps():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def repair(self, victim: Victim) -> None:
        """Start again what was killed, as whoever runs the cluster would."""
        if victim == "worker":
            self.workers[self.host].wait()
            self.workers[self.host] = self.start_worker(self.host)
        elif victim == "scheduler":
            self.dask.close()
            self.restart()


@contextmanager
def made_cluster(dcss: Dcss, namespaces: Namespaces | None = None) -> Iterator[Cluster]:
    """Make a cluster; what its hosts still have afterwards is swept with the user's home."""
    running = Cluster(dcss, namespaces)
    try:
        yield running
    finally:
        running.dask.close()


@pytest.fixture
def cluster(dcss: Dcss) -> Iterator[Cluster]:
    with made_cluster(dcss) as running:
        yield running


def kill_in_the_middle(cluster: Cluster, victim: Victim, step: Step) -> None:
    """Kill something while a host is in the middle of a step, and have the next `up` and `verify` find all in order."""
    cluster.fleet("down" if step == "up" else "up")
    client = cluster.dcss.start(*cluster.words(step), "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + STEP_SECONDS
    while not cluster.is_in(step):
        assert client.poll() is None, f"{step} ended before it was seen on its host: {client.communicate()}"
        assert time.monotonic() < end, f"{step} was not seen on its host"
        time.sleep(LOOK_SECONDS)  # the step needs the CPU
    cluster.kill(victim, client.pid)
    client.communicate(timeout=STEP_SECONDS)
    cluster.repair(victim)
    up = cluster.fleet("up")
    guests = {host["host"]: len(host["document"]["guests"]) for host in up["hosts"]}
    assert guests == dict.fromkeys(cluster.names, 1)
    assert cluster.fleet("verify")["verdict"] == "verified"
    pids = {host["document"]["pid"] for host in up["hosts"]}
    again = cluster.fleet("up")
    assert all(host["adopted"] for host in again["hosts"])
    assert {host["document"]["pid"] for host in again["hosts"]} == pids


def assert_down_leaves_nothing(cluster: Cluster) -> None:
    cluster.fleet("down")
    assert cluster.objects() == []
    for host in cluster.names:
        assert cluster.processes(host) == {}
        assert list((cluster.dcss.home / f"{host}-r" / "dcss").glob(f"{cluster.name}-*")) == []


@pytest.mark.slow
@pytest.mark.minutes
@pytest.mark.parametrize("victim", VICTIMS)
def test_what_is_killed_while_the_fleet_comes_up_is_made_good(cluster: Cluster, victim: Victim) -> None:
    kill_in_the_middle(cluster, victim, "up")
    assert_down_leaves_nothing(cluster)


@pytest.mark.slow
@pytest.mark.minutes
@pytest.mark.parametrize("part", range(PARTS))
def test_fifty_kills_in_the_middle_of_all_steps_leave_a_fleet_that_converges(part: int) -> None:
    with made_user() as dcss, made_cluster(dcss) as cluster:
        kill_part(cluster, part)


@pytest.mark.slow
@pytest.mark.minutes
@pytest.mark.parametrize("part", range(PARTS))
def test_fifty_kills_on_hosts_that_share_nothing_leave_a_fleet_that_converges(part: int) -> None:
    with (
        made_namespaces(("h1", "h2", "h3")) as namespaces,
        made_user() as dcss,
        made_cluster(dcss, namespaces) as cluster,
    ):
        kill_part(cluster, part)


def kill_part(cluster: Cluster, part: int) -> None:
    """Kill a part of the fifty times: each victim in the middle of each step, again and again."""
    for number in range(part * KILLS // PARTS, (part + 1) * KILLS // PARTS):
        victim, step = VICTIMS[number % len(VICTIMS)], STEPS[number // len(VICTIMS) % len(STEPS)]
        try:
            kill_in_the_middle(cluster, victim, step)
        except BaseException as error:
            error.add_note(f"kill {number}: {victim} in the middle of {step}")
            raise
    assert_down_leaves_nothing(cluster)
