"""What the commands print with --json is what their schemas say, of one system and one image."""

import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cli_support import GUEST, MAP, Dcss, made_user
from evidence_schema_support import check_evidence
from jsonschema import Draft202012Validator

from dcss.schemas.registry import DOCUMENTS, document_schema

DEFINE = "segment define SEG 30000-301FF SR"
SAVE = "segment save SEG --image tree"
EXPORT = "segment export SEG exported"
# What must have been done before: each test of a segment has a spool of its own.
BEFORE = {
    "segment save": [DEFINE],
    "segment query": [DEFINE, SAVE],
    "segment export": [DEFINE, SAVE],
    "segment purge": [DEFINE, SAVE],
    "segment import": [DEFINE, SAVE, EXPORT, "segment purge SEG"],
    **{f"image {each}": ["image build tree -o tree.img"] for each in ("ls", "cat", "check", "map")},
}


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(document_schema(name))


def validate(name: str, document: Any) -> None:
    """Fail where a document is not what the schema says, or has a field that it does not name."""
    errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(document)]
    assert errors == [], name
    unknown = set(document) - set(document_schema(name)["properties"])
    assert unknown == set(), f"dcss {name}: not in the schema: {unknown}"


@pytest.fixture(scope="module")
def dcss() -> Iterator[Dcss]:
    with made_user() as user:
        user.config(
            f"name: G, count: 2, {GUEST}, {MAP}",
            f"name: C, expect: copies, {GUEST.replace(', xip', '')}, run: [{{read: /usr/lib/lib00.so}}]",
        )
        up = json.loads(user("up", "system.yaml", "-d", "--json").stdout)
        validate("up", up)
        yield user
        user("down", "--all")


# Words of each command.
SLOW = {"compare"}
LINES: list[tuple[str, list[str], int]] = [
    ("ps", [], 0),
    ("verify", [], 0),
    ("measure", [], 0),
    ("inspect", ["{pid}", "{other}"], 1),
    ("exec", ["G01", "--json", "--", "ls", "/usr/lib"], 0),
    ("logs", ["G01"], 0),
    ("logs", [], 0),
    ("metrics", [], 0),
    ("report", ["-o", "report.html"], 0),
    ("guest stop", ["G02"], 0),
    ("guest start", ["G02"], 0),
    ("guest restart", ["G02"], 0),
    ("cp", ["QUERY", "NSS"], 0),
    ("segment define", ["SEG", "30000-301FF", "SR", "--system", "{spool}"], 0),
    ("segment save", ["SEG", "--image", "tree", "--system", "{spool}"], 0),
    ("segment query", ["--system", "{spool}"], 0),
    ("segment load", ["LIB", "--system", "{system}"], 0),
    ("segment export", ["SEG", "exported", "--system", "{spool}"], 0),
    ("segment purge", ["SEG", "--system", "{spool}"], 0),
    ("segment import", ["exported", "--system", "{spool}"], 0),
    ("segment spools", [], 0),
    ("image build", ["tree", "-o", "tree.img"], 0),
    ("image ls", ["tree.img", "/usr/lib"], 0),
    ("image cat", ["tree.img", "/usr/lib/lib00.so"], 0),
    ("image check", ["tree.img"], 0),
    ("image map", ["tree.img"], 0),
    ("config", ["system.yaml"], 0),
    ("advise", ["tree", "tree"], 0),
    ("export", ["qemu", "tree"], 0),
    ("compare", ["other.yaml", "--rounds", "1"], 0),
    ("init", ["demo", "-o", "new.yaml"], 0),
    ("init", ["--list"], 0),
    ("top", ["{system}", "--count", "1"], 0),
    ("doctor", [], 0),
    ("docs", [], 0),
    ("docs", ["commands"], 0),
    ("completion", ["bash"], 0),
    ("run", ["other.yaml", "--timings"], 0),
    ("error", ["ps", "no-such-system"], 2),
    ("down", ["no-such-system"], 0),
]


@pytest.mark.parametrize(
    ("name", "words", "status"),
    [
        pytest.param(*line, id=" ".join([line[0], *line[1][:1]]), marks=[pytest.mark.slow] if line[0] in SLOW else [])
        for line in LINES
    ],
)
def test_a_document_is_what_its_schema_says(dcss: Dcss, name: str, words: list[str], status: int) -> None:
    if name == "report":
        pytest.importorskip("jinja2", reason="the report is an extra")
    if name in {"run", "compare"}:
        dcss.config(f"name: R, count: 2, {GUEST}, {MAP}", name=f"{dcss.system}-run", path="other.yaml")
    places: dict[str, object] = {"pid": os.getpid(), "other": os.getppid(), "system": dcss.system}
    places["spool"] = f"{dcss.system}-{name.replace(' ', '-')}"
    for line in BEFORE.get(name, []):
        dcss(*line.split(), *(["--system", str(places["spool"])] if name.startswith("segment") else []))
    if name == "inspect":
        places |= {"pid": dcss.pid_of("G01"), "other": dcss.pid_of("G02")}
    command = [*([] if name == "error" else name.split()), *(word.format(**places) for word in words)]
    if "--json" not in command:
        command.append("--json")
    done = dcss(*command, status=None)
    assert done.returncode in {status, 0}, done.stderr
    validate(name, json.loads(done.stdout))


def test_every_document_was_looked_at() -> None:
    elsewhere = {"up", "kernel-test"}  # what starts a system in the background, and what boots a machine
    elsewhere |= {"evidence", "logs --follow"}  # which are below
    elsewhere |= {"sweep"} | {name for name in DOCUMENTS if name.startswith("fleet ")}  # in other tests
    assert {name for name, _, _ in LINES} | elsewhere == set(DOCUMENTS)


@pytest.mark.parametrize("words", [["verify"], ["inspect", "{pid}", "{other}"]], ids=lambda words: words[0])
def test_each_record_of_evidence_is_what_its_schema_says(dcss: Dcss, words: list[str]) -> None:
    path = dcss.home / f"{words[0]}.json.gz"
    pids = {"pid": dcss.pid_of("G01"), "other": dcss.pid_of("G02")}
    dcss(*(word.format(**pids) for word in words), "--evidence", path, status=None)
    kinds = check_evidence(path)
    assert kinds >= {"system", "guest", "segment", "mappings", "claim", "verdict"}


def test_each_line_of_a_log_is_what_its_schema_says(tmp_path: Path) -> None:
    with made_user() as user:
        user("up", user.guests(1), "-d")
        with user.start("logs", "-f", "--json", stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            first = follower.stdout.readline()
            user("down")
            lines = [first, *follower.stdout]
        documents = [json.loads(line) for line in lines]
        for document in documents:
            validate("logs --follow", document)
        assert follower.returncode == 0
    assert "up with 1 guest" in documents[0]["line"]


def test_what_was_taken_down_is_what_the_schema_says(tmp_path: Path) -> None:
    with made_user() as user:
        user("up", user.guests(1), "-d")
        validate("down", user.json("down"))
