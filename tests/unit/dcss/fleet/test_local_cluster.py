"""Clusters of Dask on this machine alone: nobody else reaches them, and nothing of them stays."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from dcss.errors import ConfigError, LaunchError
from dcss.fleet import local_cluster, tasks
from dcss.fleet.dask_hosts import open_hosts
from dcss.fleet.local_cluster import start_processes, start_stand_ins


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    for variable in ("TMPDIR", "XDG_STATE_HOME"):
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
    assert list((directories / "TMPDIR").iterdir()) == []


def test_a_task_is_waited_for_without_asking_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        hosts = open_hosts(None, ["a"], trusted=False, stack=stack)
        looks = 0

        def look(known: Callable[[], object]) -> object:
            nonlocal looks
            looks += 1
            return known()

        monkeypatch.setattr(hosts, "_workers", partial(look, hosts._workers))
        assert hosts.call(sleep, {"a": (0.5,)})["a"].value == "slept"
    assert looks <= 10, "one each second that it takes, and one before"


@pytest.mark.slow
def test_processes_listen_on_loopback_alone(directories: Path) -> None:
    with ExitStack() as stack:
        hosts = open_hosts(start_processes(2, 1, stack), (), trusted=False, stack=stack)
        assert len(hosts.names) == 2
        assert all(ip_address(address).is_loopback for address in listening())
    assert list((directories / "TMPDIR").iterdir()) == []


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
