"""`dcss inspect` as a command: exit statuses, the page, JSON, evidence, and --watch."""

import json
import mmap
import os
import random
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli_support import Dcss, made_user
from peers_support import peers

from dcss.documents import from_document
from dcss.results import InspectResult

PAGES = 16


@pytest.fixture(scope="module")
def user() -> Iterator[Dcss]:
    with made_user() as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.write_bytes(random.Random(22).randbytes(PAGES * mmap.PAGESIZE))
    return path


def test_verified_ends_with_0_and_refuted_with_1(user: Dcss, file: Path) -> None:
    with peers(f"map={file}", f"map={file}", f"copy={file}") as found:
        one, two, copier = (str(peer.pid) for peer in found)
        assert user("inspect", one, two, "--file", file).stdout.startswith(
            "VERIFIED  inspect: 2 processes share 1 file"
        )
        assert user("inspect", one, copier, "--file", file, status=1).stdout.startswith("REFUTED  inspect: ")
        assert user("inspect", copier, "--file", file, status=1).stdout.startswith("REFUTED  inspect: ")
        assert user("inspect", one, "--file", file).stdout.startswith("VERIFIED  inspect: every claim that applies")


def test_every_line_of_a_process_adds_up(user: Dcss, file: Path) -> None:
    with peers(f"map={file}", f"copy={file}") as found:
        pids = [str(peer.pid) for peer in found]
        page = user("inspect", *pids, "--file", file, status=1).stdout
    lines = re.findall(r"^ *(\d+) +\S+ +([\d.]+) \+ +([\d.]+) = +([\d.]+) +([\d.]+) ", page, re.MULTILINE)
    assert [line[0] for line in lines] == pids
    for _, private, shared, total, _ in lines:
        assert float(private) + float(shared) == pytest.approx(float(total), abs=0.001)
    assert [line[4] for line in lines] == ["0.00", f"{PAGES * mmap.PAGESIZE / (1 << 20):.2f}"]


def test_json_has_both_documents(user: Dcss, file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        pids = [peer.pid for peer in found]
        document = user.json("inspect", *map(str, pids), "--file", file)
    assert {"verify", "measure", "objects", "processes"} <= document.keys()
    assert document["verify"]["verdict"] == "verified"
    assert [guest["pids"] for guest in document["measure"]["guests"]] == [[pid] for pid in pids]
    assert document["measure"]["segments"][0]["name"] == str(file)
    result = from_document(InspectResult, document)
    assert [process.pid for process in result.processes] == pids
    assert result.to_document() == document
    assert [row["path"] for row in result.rows()] == [str(file)]


def test_wrong_command_lines_end_with_2(user: Dcss, file: Path, tmp_path: Path) -> None:
    with peers(f"map={file}") as (peer,):
        pid = str(peer.pid)
        for words, wanted in {
            (): "PID",
            (pid,): "found one PID, wanted two or more",
            (pid, pid): "found one PID, wanted two or more",
            ("0", pid): "0 is not in the range",
            ("x", pid): "x",
            ("2", pid, "--file", str(file)): "PID 2: found kernel thread",
            (pid, "--file", str(tmp_path / "none")): "found nothing at",
            (pid, "--object", "none"): "found no object none",
            (pid, "--file", str(file), "--evidence", str(tmp_path)): "found a directory",
            (pid, "--file", str(file), "--evidence", "e.json", "--watch"): "found --watch and --evidence",
        }.items():
            done = user("inspect", *words, status=2)
            assert wanted in done.stderr, (words, done.stderr)
            assert done.stdout == ""
    gone = user("inspect", pid, "--file", file, "--json", status=2)
    assert json.loads(gone.stdout)["error"]["lines"] == [
        f"PID {pid}: found no process of that id, wanted one that runs"
    ]


def test_a_process_that_has_ended_and_was_not_waited_for_is_named(user: Dcss, file: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        done = user("inspect", str(ended.pid), "--file", file, status=2)
    assert "which has ended and waits for its parent (a zombie)" in done.stderr


def test_a_thread_is_named(user: Dcss, file: Path) -> None:
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        number = pool.submit(threading.get_native_id).result()
        pool.submit(release.wait)
        done = user("inspect", str(number), "--file", file, status=2)
        release.set()
    assert f"found a thread of process {os.getpid()}, wanted a process; name {os.getpid()}" in done.stderr


def test_evidence_is_written(user: Dcss, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with peers(f"map={file}", f"map={file}") as found:
        user("inspect", *(str(peer.pid) for peer in found), "--file", file, "--evidence", path)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records[0]["record"] == "system"
    assert records[-1] == {"record": "verdict", "verdict": "verified", "limits": records[-1]["limits"]}


def test_watch_repeats_until_a_process_ends(user: Dcss, file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        words = ["inspect", *(str(peer.pid) for peer in found), "--file", str(file), "--watch", "0.1", "--json"]
        with user.start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
            assert watching.stdout is not None
            verdicts = [json.loads(watching.stdout.readline())["verify"]["verdict"] for _ in range(2)]
            found[0].kill()
            _, errors = watching.communicate()
    assert verdicts == ["verified", "verified"]
    assert watching.returncode == 3
    assert f"process {found[0].pid} (" in errors
    assert "ended while it was looked at" in errors


def test_ctrl_c_ends_watch(user: Dcss, file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        words = ["inspect", *(str(peer.pid) for peer in found), "--file", str(file), "--watch", "0.1"]
        with user.start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
            assert watching.stdout is not None
            first = watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            watching.communicate()
    assert first.startswith("VERIFIED  inspect: ")
    assert watching.returncode == 130
