"""Evidence arrives whole, or its host says why it did not; an older file stays until then."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dcss.errors import ConfigError
from dcss.fleet import tasks
from dcss.fleet.content import CHUNK_BYTES
from dcss.fleet.evidence import check_evidence_directory, verify_with_evidence
from dcss.fleet.hosts import HostAnswer, Task

CONTENT = bytes(range(256)) * (CHUNK_BYTES // 256) + b"the rest"
FILE = {"name": "web-a.1.evidence.gz", "digest": sha256(CONTENT).hexdigest(), "size_bytes": len(CONTENT)}


class VerifyingHosts:
    """Hosts that verify; `answers` are what they give for the parts of their evidence, in the order of arrival."""

    def __init__(self, answers: list[HostAnswer]) -> None:
        self.names = ("a",)
        self.answers = answers
        self.forgotten: list[str] = []

    def call(self, task: Task, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, HostAnswer]:
        if task is tasks.forget_evidence:
            self.forgotten += [name for (name,) in arguments.values()]
            return {host: HostAnswer(None) for host in arguments}
        assert task is tasks.verify_with_evidence
        return {host: HostAnswer({"document": {"verdict": "verified"}, "evidence": FILE}) for host in arguments}

    def feed(self, task: Task, orders: Mapping[str, Iterator[tuple[Any, ...]]]) -> Iterator[tuple[str, HostAnswer]]:
        assert task is tasks.read_evidence
        assert {host: list(given) for host, given in orders.items()} == {
            "a": [(FILE["name"], 0, CHUNK_BYTES), (FILE["name"], CHUNK_BYTES, CHUNK_BYTES)]
        }
        yield from (("a", answer) for answer in self.answers)

    def call_beside(self, task: Task, *arguments: object) -> None: ...

    def close(self) -> None: ...


def part(start: int, content: bytes = CONTENT) -> HostAnswer:
    return HostAnswer({"start": start, "data": content[start : start + CHUNK_BYTES]})


def test_parts_that_arrive_in_any_order_are_the_whole(tmp_path: Path) -> None:
    hosts = VerifyingHosts([part(CHUNK_BYTES), part(0)])
    answers = verify_with_evidence(hosts, "web", ["a"], tmp_path)
    assert answers["a"].value["document"] == {"verdict": "verified"}
    assert [path.name for path in tmp_path.iterdir()] == ["web-a.json.gz"]
    assert (tmp_path / "web-a.json.gz").read_bytes() == CONTENT
    assert hosts.forgotten == [FILE["name"]]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([part(0), HostAnswer(None, "lost its worker")], "its evidence did not arrive: lost its worker"),
        ([part(0), part(CHUNK_BYTES, CONTENT[:-1])], "its evidence arrived with SHA-256"),
    ],
)
def test_a_host_whose_evidence_is_not_whole_says_so(tmp_path: Path, answers: list[HostAnswer], said: str) -> None:
    (tmp_path / "web-a.json.gz").write_text("older")
    hosts = VerifyingHosts(answers)
    (answer,) = verify_with_evidence(hosts, "web", ["a"], tmp_path).values()
    assert answer.value is None
    assert answer.error is not None
    assert said in answer.error
    assert [path.name for path in tmp_path.iterdir()] == ["web-a.json.gz"]
    assert (tmp_path / "web-a.json.gz").read_text() == "older"
    assert hosts.forgotten == [FILE["name"]]


def test_the_directory_is_made_and_what_is_none_is_said(tmp_path: Path) -> None:
    check_evidence_directory(tmp_path / "new")
    assert (tmp_path / "new").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--evidence: found File exists at .*, wanted a directory"):
        check_evidence_directory(tmp_path / "file")
