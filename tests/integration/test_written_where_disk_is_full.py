"""A file that a command cannot write to its end: the error names it, nothing is left of it, an older one stays."""

import mmap
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers_support import peers

ROOM_BYTES = 512  # what a file may grow to, in the place of a full disk


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[list[str]]:
    file = tmp_path / "shared"
    file.write_bytes(random.Random(15).randbytes(64 * mmap.PAGESIZE))
    with peers(f"map={file}", f"map={file}") as found:
        yield [str(peer.pid) for peer in found]


def dcss(*words: str, cwd: Path, room_bytes: int | None = ROOM_BYTES) -> "subprocess.CompletedProcess[str]":
    def limit() -> None:
        if room_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))

    command = [sys.executable, "-m", "dcss", *words]
    return subprocess.run(command, cwd=cwd, preexec_fn=limit, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["evidence.json", "evidence.json.gz"])
def test_evidence(tmp_path: Path, pids: list[str], name: str) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / name
    path.write_text("older")
    done = dcss("inspect", *pids, "--evidence", str(path), cwd=tmp_path)
    assert done.returncode == 3
    assert str(path) in done.stderr
    assert "File too large" in done.stderr
    assert [each.name for each in path.parent.iterdir()] == [name]
    assert path.read_text() == "older"


def test_a_report(tmp_path: Path, pids: list[str]) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out/report.html"
    result = tmp_path / "result.json"
    result.write_text(dcss("inspect", *pids, "--json", cwd=tmp_path, room_bytes=None).stdout)
    done = dcss("report", str(result), "-o", str(path), cwd=tmp_path)
    assert done.returncode == 3
    assert str(path) in done.stderr
    assert list(path.parent.iterdir()) == []
