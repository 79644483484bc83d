"""A system that is up already stays, and its guests are ready when it has been adopted."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcss.fleet import tasks

YAML = b"system: web-a\nsegments: []\n"


class Commands:
    """What `dcss` commands are given, and what they print: `ps` the next of some states of the guests."""

    def __init__(self, states: Iterator[dict[str, str]]) -> None:
        self._states = states
        self.given: list[list[str]] = []
        self.config = ""

    def run(self, words: list[str], **_: Any) -> "subprocess.CompletedProcess[bytes]":
        arguments = words[words.index("dcss") + 1 : -1]
        self.given.append(arguments)
        document: dict[str, Any] = {}
        if arguments[0] == "ps":
            guests = [{"name": name, "state": state} for name, state in next(self._states).items()]
            document = {"systems": [{"name": "web-a", "config": self.config, "guests": guests}]}
        elif arguments[0] == "up":
            self.config = arguments[1]
        return subprocess.CompletedProcess(words, 0, json.dumps(document).encode(), b"")


@pytest.mark.parametrize(
    ("seen", "given"),
    [
        ([{"G1": "ready", "G2": "failed", "G3": "stopped"}], [["ps", "web-a"]]),
        (
            [{"G1": "ready", "G2": "killed"}, {"G1": "ready", "G2": "ready"}],
            [["ps", "web-a"], ["guest", "start", "G2", "--system", "web-a"], ["ps", "web-a"]],
        ),
        (
            [{"G1": "starting"}, {"G1": "running"}, {"G1": "ready"}],
            [["ps", "web-a"], ["ps", "web-a"], ["ps", "web-a"]],
        ),
    ],
    ids=["all settled", "one was killed", "one is on its way"],
)
def test_an_adopted_system_has_the_guests_that_can_be_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list[dict[str, str]], given: list[list[str]]
) -> None:
    commands = Commands(iter(seen))
    monkeypatch.setattr(subprocess, "run", commands.run)
    monkeypatch.setattr(tasks, "_LOOK_SECONDS", 0.0)
    base = str(tmp_path)
    assert tasks.ensure_up(base, "web-a", YAML, [])["adopted"] is False
    (tmp_path / "run" / "dcss" / "web-a").mkdir(parents=True)
    commands.given.clear()
    answer = tasks.ensure_up(base, "web-a", YAML, [])
    assert answer["adopted"]
    assert {guest["name"]: guest["state"] for guest in answer["document"]["guests"]} == seen[-1]
    assert commands.given == given
