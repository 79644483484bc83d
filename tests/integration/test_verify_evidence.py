"""The evidence file lets someone else compute the verdict again, and says the same whether compressed or not."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from claim_support import ONE_FRAME, assert_verified
from evidence_schema_support import check_evidence
from evidence_support import books_close, one_frame_per_page, read
from needs_support import needs
from segment_support import ADDRESS, Stage, disk_directory, map_all, order, random_content

from dcss import Evidence
from dcss.abi.page import PAGE_SIZE
from dcss.errors import ConfigError
from dcss.results import VerifyResult
from dcss.verify.examine import verify

pytestmark = needs("frames")


def holds(result: VerifyResult) -> list[bool | None]:
    return [result.claims[0].holds, result.claims[2].holds]


def recomputed(path: Path) -> list[bool]:
    """Compute claims 1 and 3 again without this project's code, and with it: both ways say the same."""
    check_evidence(path)
    records = read(path)
    found = [one_frame_per_page(records), books_close(records)]
    again = Evidence(path).recompute()
    assert [again.claims[0].holds, again.claims[2].holds] == found
    return found


@pytest.mark.parametrize("name", ["evidence.json", "evidence.json.gz"])
def test_honest_system(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with Stage() as stage:
        stage.publish()
        for _ in range(2):
            stage.guest(map_all())
        stage.guest([order("storage", pages=64), order("read_into", address=0, page=8, pages=40)], expect="copies")
        result = verify(stage.system, evidence_path=path)
    assert_verified(result)
    assert recomputed(path) == holds(result) == [True, True]
    again = Evidence(path).recompute()
    assert (again.verdict, again.files, again.evidence) == ("verified", result.files, "frames")
    assert again.claims[0] == result.claims[0]
    assert again.limits[-1].startswith("no-hidden-copies, protection-holds, baselines-copy: as recorded")
    assert Evidence(path).recorded().claims == result.claims
    records = read(path)
    assert [guest["guest"] for guest in records["guest"]] == ["LINUX01", "LINUX02", "LINUX03"]
    assert {record["role"] for record in records["mappings"]} == {"cp", "LINUX01", "LINUX02"}
    assert [claim["claim"] for claim in records["claim"]] == [claim.claim for claim in result.claims]
    assert records["verdict"][0]["verdict"] == "verified"
    assert len(records["search"]) == 4
    (segment,) = records["segment"]
    assert len(segment["frames"]) == len(segment["map_counts"]) == segment["pages"] == 96
    # CP's mapping, and in each sharing guest the file's.
    assert segment["map_counts"][8] == 3


def test_the_snippet_runs_alone(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        verify(stage.system, evidence_path=path)
    script = Path(__file__).parents[1] / "support" / "evidence_support.py"
    done = subprocess.run([sys.executable, "-I", str(script), str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "one-frame-per-page True\nbooks-close True\n"


def test_the_snippet_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "measurement.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        verify(stage.system, evidence_path=tmp_path / "evidence.json")
    (tmp_path / "snippet.py").write_text(snippet)
    assert subprocess.run([sys.executable, "snippet.py"], check=False, capture_output=True).returncode == 0
    path = tmp_path / "evidence.json"
    path.write_text(path.read_text().replace('"map_counts": [1', '"map_counts": [2'))
    assert b"AssertionError" in subprocess.run([sys.executable, "snippet.py"], check=False, capture_output=True).stderr


@pytest.mark.parametrize(
    "orders",
    [
        [*map_all(), order("replace", at=3, page=11, pages=2)],
        [*map_all(), order("replace", at=3, page=11, pages=2, change=True)],
        [order("device", address=ADDRESS, pages=96)],
        [
            order("device", address=ADDRESS, pages=96, private=True),
            order("store", address=ADDRESS, text="x"),
            order("map", at=0, page=8, pages=40),
        ],
    ],
    ids=["equal", "changed", "nothing", "written"],
)
def test_refuted_one_frame_is_refuted_again(tmp_path: Path, orders: list[list[Any]]) -> None:
    path = tmp_path / "evidence.json"
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        stage.guest(orders)
        result = verify(stage.system, evidence_path=path)
    assert recomputed(path) == holds(result) == [False, True]


def test_absent_pages_do_not_count_when_it_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        stage.guest([order("map", at=0, page=8, pages=40, touched=8)])
        result = verify(stage.system, evidence_path=path)
    assert recomputed(path) == holds(result) == [True, True]


def test_stranger_is_in_the_evidence(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with Stage() as stage, disk_directory() as directory:
        stage.publish()
        (directory / "copy").write_bytes(random_content(8))
        stage.guest([*map_all(), order("map_path", path=str(directory / "copy"), at=9000, pages=8)])
        result = verify(stage.system, evidence_path=path)
        assert [stranger["path"] for stranger in read(path)["stranger"]] == [str(directory / "copy")]
    assert recomputed(path) == holds(result) == [False, True]
    assert "stranger" in check_evidence(path)


def test_refuted_books_are_refuted_again(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with Stage() as stage:
        segment = stage.publish()
        stage.guest(map_all())
        started, ready = os.pipe()
        foreign = os.fork()
        if foreign == 0:
            import mmap

            mapped = mmap.mmap(segment.descriptor, 0, prot=mmap.PROT_READ)
            os.write(ready, mapped[50 * PAGE_SIZE : 50 * PAGE_SIZE + 1])
            signal.pause()
        os.read(started, 1)
        try:
            result = verify(stage.system, evidence_path=path)
        finally:
            os.kill(foreign, signal.SIGKILL)
            os.waitpid(foreign, 0)
            os.close(started)
            os.close(ready)
    assert recomputed(path) == holds(result) == [True, False]


def test_copies_are_in_the_evidence(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json.gz"
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("hide", how="bytes", page=88, pages=1)])
        verify(stage.system, evidence_path=path)
    assert "copy" in check_evidence(path)
    again = Evidence(path).recompute()
    assert again.claims[1].holds is False
    assert "guest LINUX01: 1 page of LIB:/lib/three.so" in again.claims[1].detail
    (copy,) = read(path)["copy"]
    assert (copy["holder"], copy["path"], copy["pages"]) == ("guest LINUX01", "/lib/three.so", 1)
    assert all(json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())


def test_looking_again_does_not_double_the_records(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("replace", at=3, page=11, pages=2)])
        result = verify(stage.system, evidence_path=path)
    assert len(read(path)["stranger"]) == 1
    assert result.claims[0].claim == ONE_FRAME
    assert result.claims[0].holds is False
    assert len(read(path)["segment"]) == 1
    assert len(read(path)["guest"]) == 1


def test_a_verdict_that_was_written_by_hand_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with Stage() as stage:
        stage.publish()
        stage.guest(
            [*map_all(), order("replace", at=3, page=11, pages=2), order("hide", how="bytes", page=88, pages=1)]
        )
        verify(stage.system, evidence_path=path)
    forged = path.read_text().replace('"holds": false', '"holds": true').replace('"refuted"', '"verified"')
    path.write_text(forged)
    evidence = Evidence(path)
    assert evidence.recorded().verdict == "verified"
    again = evidence.recompute()
    assert again.verdict == "refuted"
    assert [claim.holds for claim in again.claims[:3]] == [False, False, True]


def test_what_is_no_evidence_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        verify(stage.system, evidence_path=path)
    whole = path.read_text()
    cases = {
        "missing": (None, "found No such file"),
        "text": (b"hello\n", ":1: found b'hello"),
        "cut": (whole.encode()[: whole.rindex('{"record": "verdict"')], "found no verdict"),
        "half": (whole.encode()[:-5], "found b'"),
        "compressed": (gzip.compress(whole.encode())[:-20], "wanted a file that dcss verify"),
        "fields": (whole.replace('"frames"', '"frame"').encode(), "found a record without"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            Evidence(tmp_path / name).recompute()
