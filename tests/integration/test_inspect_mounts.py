"""`dcss inspect` of files on overlays and tmpfs, and of processes with mounts of their own, as containers have."""

import json
import mmap
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_support import own_path
from needs_support import needs
from peers_support import Peer

from dcss.inspect.inspection import inspect

pytestmark = needs("mounts")

PAGES = 16
SUPPORT = Path(__file__).parents[1] / "support"
# Mounts, then runs peers that map FILE, and inspects them: all of it in a mount namespace of its own.
_PROGRAM = """
import json, subprocess, sys
from peers_support import peers
from dcss.inspect.inspection import inspect
from dcss.inspect.selection import Wanted

mounts, file, named = json.loads(sys.argv[1])
for words in mounts:
    subprocess.run(["mount", *words], check=True)
with peers(f"map={file}", f"private={file}") as found:
    result = inspect([peer.pid for peer in found], Wanted((file,)) if named else Wanted())
print(result.to_json())
"""


def inspected_in_namespace(mounts: list[list[str]], file: Path, *, named: bool) -> dict[str, Any]:
    words = json.dumps([mounts, str(file), named])
    paths = os.pathsep.join([str(SUPPORT), own_path()])
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", sys.executable, "-c", _PROGRAM, words],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def assert_shared(document: dict[str, Any], path: str) -> None:
    assert document["verify"]["verdict"] == "verified", document["verify"]["claims"]
    proof = next(file for file in document["verify"]["files"] if file["path"] == path)
    assert (proof["pages"], proof["checked_pages"], proof["shared"]) == (PAGES, PAGES, True)


def content() -> bytes:
    return random.Random(23).randbytes(PAGES * mmap.PAGESIZE)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("upper_has_it", [True, False])
def test_a_file_on_an_overlay(tmp_path: Path, named: bool, upper_has_it: bool) -> None:
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for directory in (lower, upper, work, merged):
        directory.mkdir()
    (lower / "file").write_bytes(content()[::-1] if upper_has_it else content())
    if upper_has_it:
        (upper / "file").write_bytes(content())
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mount = ["-t", "overlay", "none", "-o", options, str(merged)]
    document = inspected_in_namespace([mount], merged / "file", named=named)
    assert_shared(document, str(merged / "file"))


@pytest.mark.parametrize("named", [True, False])
def test_a_file_on_a_tmpfs(named: bool) -> None:
    path = Path(f"/dev/shm/inspect-{os.getpid()}")
    path.write_bytes(content())
    try:
        assert_shared(inspected_in_namespace([], path, named=named), str(path))
    finally:
        path.unlink()


def test_two_processes_with_mounts_of_their_own(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
    (first / "file").write_bytes(content())
    # The second container has the same file under another name.
    bind = f'mount --bind {first} {second} && exec "$@"'
    outside = Peer([f"map={first}/file"])
    inside = Peer([f"map={second}/file"], prefix=["unshare", "-m", "--propagation", "private", "sh", "-c", bind, "sh"])
    try:
        outside.wait_ready()
        inside.wait_ready()
        result = inspect([outside.pid, inside.pid])
    finally:
        outside.kill()
        inside.kill()
    row = next(row for row in result.objects if row.path == f"{first}/file")
    assert row.pids == (outside.pid, inside.pid)
    assert result.verify.verdict == "verified", result.verify.claims
