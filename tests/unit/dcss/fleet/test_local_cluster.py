"""Clusters of Dask on this machine alone: nobody else reaches them, and nothing of them stays."""

import gc
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from ipaddress import ip_address
from itertools import repeat
from pathlib import Path

import psutil
import pytest
from wait_support import wait_until

from dcss.documents import to_document
from dcss.errors import ConfigError, LaunchError
from dcss.fleet import local_cluster, tasks
from dcss.fleet.content import CHUNK_BYTES, Chunk
from dcss.fleet.dask_hosts import ORDERS_AT_ONCE, open_hosts
from dcss.fleet.hosts import HostAnswer
from dcss.fleet.local_cluster import start_processes, start_stand_ins


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    for variable in ("TMPDIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        (tmp_path / variable).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "TMPDIR"))
    return tmp_path


def sleep(base: str, seconds: float) -> str:
    """A task."""
    assert base
    time.sleep(seconds)
    return "slept"


def listening() -> set[str]:
    """Return the addresses at which this process and its children take connections."""
    own = psutil.Process()
    found = (one for each in (own, *own.children(recursive=True)) for one in each.net_connections("inet"))
    return {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN}


def test_stand_ins_run_tasks_each_in_its_directory(directories: Path) -> None:
    with ExitStack() as stack:
        hosts = open_hosts(None, ["a", "192.0.2.1"], trusted=False, stack=stack)
        assert all(ip_address(address).is_loopback for address in listening())
        missing = {"digest": "0" * 64, "size_bytes": 0, "chunk_bytes": 1, "chunks": []}
        answers = hosts.call(tasks.tell_missing, dict.fromkeys(("a", "192.0.2.1", "gone"), (missing,)))
        assert (answers["a"].error, answers["192.0.2.1"].error) == (None, None)
        assert answers["gone"].error == "has no worker"
    kept = {path.parents[1].name for path in directories.rglob("fleet/segments")}
    assert len(kept) == 2, "each host has a directory of its own, whatever its name"
    assert [*(directories / "TMPDIR").iterdir(), *directories.glob("XDG_CACHE_HOME/dcss/fleet/scratch/*")] == []


def test_a_task_is_waited_for_without_asking_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        hosts = open_hosts(None, ["a"], trusted=False, stack=stack)
        looks = 0

        def look(known: Callable[[], object]) -> object:
            nonlocal looks
            looks += 1
            return known()

        monkeypatch.setattr(hosts, "_workers", partial(look, hosts._workers))
        began = time.monotonic()
        assert hosts.call(sleep, {"a": (0.5,)})["a"].value == "slept"
        seconds = time.monotonic() - began
    assert looks <= 10 + 2 * seconds, "one each second that it takes, and one before"


def pass_when_there(base: str, wanted: str, mark: str) -> str:
    """Be a task that waits until a file is there, and then makes one."""
    wait_until(Path(wanted).exists)
    Path(mark).touch()
    return base


def test_each_host_goes_on_at_its_own_pace_with_few_orders_in_memory(directories: Path) -> None:
    taken, answered = dict.fromkeys("ab", 0), dict.fromkeys("ab", 0)

    def orders(host: str, wanted: str) -> Iterator[tuple[str, str]]:
        for number in range(20):
            taken[host] += 1
            assert taken[host] - answered[host] <= ORDERS_AT_ONCE + 1  # the next is taken before the answer is given
            yield str(directories / wanted), str(directories / f"{host}{number}")

    with ExitStack() as stack:
        hosts = open_hosts(None, ["a", "b"], trusted=False, stack=stack)
        # Host a has nothing to do before b is done with all.
        given = {"a": orders("a", "b19"), "b": orders("b", ".")}
        for host, answer in hosts.feed(pass_when_there, given):
            answered[host] += 1
            assert answer.error is None
    assert answered == {"a": 20, "b": 20}


def test_an_order_that_fails_is_the_last_of_its_host_alone() -> None:
    chunk = to_document(Chunk("0" * 64, 4, 0, sha256(b"good").hexdigest()))
    orders = {"a": [(chunk, b"good"), (chunk, b"evil"), *[(chunk, b"good")] * 9], "b": [(chunk, b"good")] * 5}
    with ExitStack() as stack:
        hosts = open_hosts(None, ["a", "b"], trusted=False, stack=stack)
        found = list(hosts.feed(tasks.store_chunk, {host: iter(each) for host, each in orders.items()}))
    assert found.count(("b", HostAnswer(4))) == 5
    failed = [answer.error for host, answer in found if host == "a" and answer.error is not None]
    assert len(failed) == 1
    assert "4 bytes from 0 of 4 arrived with another content" in str(failed[0])


def test_what_was_sent_is_not_kept_in_memory() -> None:
    data = os.urandom(CHUNK_BYTES)
    chunk = to_document(Chunk("0" * 64, CHUNK_BYTES, 0, sha256(data).hexdigest()))
    with ExitStack() as stack:
        hosts = open_hosts(None, ["a"], trusted=False, stack=stack)
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        assert sum(answer.value for _, answer in hosts.feed(tasks.store_chunk, {"a": repeat((chunk, data), 20)}))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 10 * CHUNK_BYTES


@pytest.mark.slow
def test_processes_listen_on_loopback_alone(directories: Path) -> None:
    with ExitStack() as stack:
        hosts = open_hosts(start_processes(2, 1, stack), (), trusted=False, stack=stack)
        assert len(hosts.names) == 2
        assert all(ip_address(address).is_loopback for address in listening())
    assert [*(directories / "TMPDIR").iterdir(), *directories.glob("XDG_CACHE_HOME/dcss/fleet/scratch/*")] == []


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_an_error() -> None:
    with ExitStack() as stack, pytest.raises((ConfigError, LaunchError), match=r"127\.0\.0\.1:1 does not answer"):
        open_hosts("tcp://127.0.0.1:1", (), trusted=False, stack=stack)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cluster, "find_spec", lambda _: None)
    with ExitStack() as stack:
        with pytest.raises(ConfigError, match=r"stand-ins: found no Dask, wanted the extra `fleet`"):
            start_stand_ins(["a"], stack)
        with pytest.raises(ConfigError, match="--workers: found no Dask"):
            start_processes(1, 1, stack)
