"""`dcss ps` with made-up systems: what runs, what starts, and what a killed CP left."""

import json
from pathlib import Path
from typing import Any, Self

import pytest

from dcss.cli.main import main
from dcss.documents import to_document
from dcss.errors import LaunchError
from dcss.results import GuestStatus, SystemStatus
from dcss.rpc import client
from dcss.rpc.client import FoundSystem, Life

GUEST = GuestStatus("A", "process", "stopped", "2026-05-03T10:00:01Z", None, (), 0, None, None, "/run/A.log")
STATUS = SystemStatus("up", "up", 5, "2026-05-03T10:00:00Z", "/up.yaml", "/run/cp.log", (GUEST,), ())


class FakeClient:
    """Stands for a connection to a CP; the one of system `gone` has just ended."""

    def __init__(self, system: str) -> None:
        self.system = system

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, _request: str, **_arguments: object) -> dict[str, Any]:
        if self.system == "gone":
            raise LaunchError("system gone: its CP ended")
        return to_document(STATUS)


@pytest.fixture
def systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cp.log").write_text("one\nthe last line\n")
    found = [
        FoundSystem("up", Life.UP, 5, tmp_path),
        FoundSystem("gone", Life.UP, 6, tmp_path),
        FoundSystem("starts", Life.STARTING, 7, tmp_path),
        FoundSystem("dead", Life.DEAD, None, tmp_path),
    ]
    monkeypatch.setattr(client, "find_systems", lambda: found)
    monkeypatch.setattr(client, "Client", FakeClient)


def ps(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["ps", *arguments])
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("systems")
def test_systems_that_do_not_run_follow_those_that_do(capfd: pytest.CaptureFixture[str]) -> None:
    assert ps() == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("up: up since ")
    assert lines[0].endswith("1 guest, CP is process 5, from /up.yaml")
    assert lines[2].split() == ["A", "process", "stopped", *lines[2].split()[3:5], "-", "0", "-"]
    assert lines[3:] == [
        "starts: its CP (process 7) is about to start",
        "dead: its CP (process unknown) is dead; dcss down dead removes what it left, and so does its next start;"
        " its log ends: the last line",
    ]


@pytest.mark.usefixtures("systems")
def test_json_has_every_system(capfd: pytest.CaptureFixture[str]) -> None:
    assert ps("--json") == 0
    up, *others = json.loads(capfd.readouterr().out)["systems"]
    assert up["guests"] == [to_document(GUEST) | {"private_bytes": None}]
    assert others == [
        {"system": "starts", "state": Life.STARTING.value, "pid": 7},
        {"system": "dead", "state": Life.DEAD.value, "pid": None},
    ]


@pytest.mark.usefixtures("systems")
def test_a_named_system_that_ends_meanwhile_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert ps("gone") == 3
    assert capfd.readouterr() == ("", "dcss: system gone: its CP ended\n")


@pytest.mark.usefixtures("systems")
def test_an_unknown_name_is_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert ps("nosuch") == 2
    assert "found none of that name" in capfd.readouterr().err


def test_one_line_where_no_system_runs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(client, "find_systems", list)
    assert ps() == 0
    assert capfd.readouterr().out == "no system runs\n"
