"""How a command finds its system."""

import os
import socket
from pathlib import Path

import pytest

from dcss.cli import down, logs
from dcss.cli.systems import chosen
from dcss.cp.lock import SystemLock
from dcss.errors import ConfigError, LaunchError
from dcss.rpc import running as running_module
from dcss.rpc.address import socket_path
from dcss.rpc.client import Client, Life, find_systems


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "dcss"


def test_the_one_that_runs_need_not_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[str] = []
    monkeypatch.setattr(running_module, "running_systems", lambda: running)
    with pytest.raises(ConfigError, match="SYSTEM: found none that runs, wanted one; start it: dcss up CONFIG"):
        chosen(None)
    running.append("a")
    assert chosen(None) == "a"
    assert chosen("other") == "other"
    running.append("b")
    with pytest.raises(ConfigError, match="found 2 that run, wanted the name of one of a, b"):
        chosen(None)


def test_a_system_whose_cp_was_killed_is_named_where_none_runs(runtime: Path) -> None:
    with pytest.raises(ConfigError, match=r"dcss up CONFIG$"):
        chosen(None)
    (runtime / "left").mkdir(parents=True)
    wanted = r"dcss up CONFIG \(the CP of left is dead; dcss down removes what it left\)$"
    with pytest.raises(ConfigError, match=wanted):
        chosen(None)


def test_a_system_is_up_starting_dead_or_not_there(runtime: Path) -> None:
    assert find_systems() == []
    with SystemLock("starts") as lock:
        (found,) = find_systems()
        assert (found.name, found.life, found.pid) == ("starts", Life.STARTING, os.getpid())
        with socket.socket(socket.AF_UNIX) as listening:
            with socket_path(lock.directory) as path:
                listening.bind(path)
            assert find_systems()[0].life is Life.DEAD  # bound and not listening: what a killed CP leaves
            listening.listen()
            assert find_systems()[0].life is Life.UP
        assert find_systems()[0].life is Life.DEAD
        with pytest.raises(LaunchError, match=rf"its CP \(process {os.getpid()}\) is dead; dcss down starts removes"):
            Client("starts")
    assert find_systems() == []
    (runtime / "left").mkdir()
    (runtime / "not a system").mkdir()
    (runtime / "file").touch()
    assert [(found.name, found.life, found.pid) for found in find_systems()] == [("left", Life.DEAD, None)]


def test_a_system_that_is_not_there_lists_those_that_are(runtime: Path) -> None:
    with pytest.raises(ConfigError, match=r"system nosuch: found none .*, wanted one that is up \(none is\)"):
        Client("nosuch")
    with pytest.raises(ConfigError, match=r"system name '\.\./\.\./etc': wanted 1 to 64"):
        Client("../../etc")
    with SystemLock("other") as lock, socket.socket(socket.AF_UNIX) as listening:
        with socket_path(lock.directory) as path:
            listening.bind(path)
        listening.listen()
        with pytest.raises(ConfigError, match="wanted one of other"):
            Client("nosuch")


def test_a_cp_that_ends_or_does_not_answer_is_an_error(runtime: Path) -> None:
    with SystemLock("mute") as lock, socket.socket(socket.AF_UNIX) as listening:
        with socket_path(lock.directory) as path:
            listening.bind(path)
        listening.listen()
        with Client("mute") as client, pytest.raises(LaunchError, match=r"did not answer ps within 0\.05 s"):
            client.ask("ps", timeout_seconds=0.05)
        with Client("mute") as client:
            listening.accept()[0].close()  # the connection before
            listening.accept()[0].close()
            with pytest.raises(LaunchError, match="ended before it answered ps"):
                client.ask("ps", timeout_seconds=60)


def test_down_of_a_mistyped_system_suggests_one(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(down, "running_systems", lambda: ["demo"])
    for name, suggested in (("DEMO", " (did you mean demo?)"), ("x", "")):
        down._show([], name)
        assert capfd.readouterr().out == f"system {name} does not run{suggested}\n"


def test_logs_without_a_system_says_what_there_is(runtime: Path) -> None:
    for system, found in ((None, "none that was started"), ("demo", "demo, which was not started")):
        with pytest.raises(ConfigError, match=f"^SYSTEM: found {found}, wanted one; start it: dcss up CONFIG$"):
            logs._found(system)
    for name in ("demo", "other"):
        (runtime / name).mkdir(parents=True)
    assert logs._found("demo").name == "demo"
    for system, found in ((None, "2 that were started"), ("Demo", "Demo, which was not started")):
        with pytest.raises(ConfigError, match=f"^SYSTEM: found {found}, wanted the name of one of demo, other"):
            logs._found(system)
