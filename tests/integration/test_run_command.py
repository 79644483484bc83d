"""`dcss run` as a user calls it: exit status, JSON, screen, and that it leaves nothing behind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest
from needs_support import needs
from system_support import objects
from tree_support import make_tree, mke2fs
from wait_support import wait_until

pytestmark = needs("mke2fs")
NAME = f"run{os.getpid()}"  # other runs of the tests may go on beside this one

SYSTEM = """
system: {name}
segments:
  - name: LIB
    at: 0x20000000
    image: {{ext2: {image}}}
guests:
  - name: LINUX
    count: 3
    mounts: [{{device: dcssblk0, at: /, options: [{options}]}}]
    run: [{run}]
"""
BASELINE = """
  - name: BASE
    expect: copies
    mounts: [{{device: dcssblk0, at: /, options: [{options}]}}]
    run: [map: "/usr/lib/**/*.so*"]
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree")
    mke2fs(tmp_path / "tree", tmp_path / "image")
    return tmp_path / "image"


MAP_ALL = 'map: "/usr/lib/**/*.so*"'


def config(image: Path, options: str = "ro, xip", run: str = MAP_ALL, base: str | None = None) -> Path:
    path = image.parent / "system.yaml"
    text = SYSTEM.format(name=NAME, image=image, options=options, run=run)
    path.write_text(text + (BASELINE.format(options=base) if base else ""))
    return path


def dcss(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_RUNTIME_DIR": str(home), "XDG_STATE_HOME": str(home / "state"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "dcss", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=environment)


def claims(result: dict[str, Any]) -> dict[str, bool | None]:
    return {claim["claim"]: claim["holds"] for claim in result["verify"]["claims"]}


def test_json_document_has_the_contracts_fields(image: Path) -> None:
    done = dcss("run", config(image, base="ro"), "--json", home=image.parent)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"verify", "measure", "guests"} <= result.keys()
    verify, measure = result["verify"], result["measure"]
    assert (verify["system"], verify["verdict"]) == (NAME, "verified")
    assert verify["evidence"] in {"frames", "mappings"}
    assert set(claims(result)) == {
        "one-frame-per-page",
        "no-hidden-copies",
        "books-close",
        "protection-holds",
        "baselines-copy",
    }
    assert all(holds is True for holds in claims(result).values())
    files = {file["path"]: file for file in verify["files"]}
    one = files["/usr/lib/libone.so.1"]
    assert (one["segment"], one["pages"], one["checked_pages"]) == ("LIB", 250, 250)
    assert one["guests"] == ["LINUX01", "LINUX02", "LINUX03"]
    assert one["shared"] is True
    assert one["distinct_frames"] == (250 if verify["evidence"] == "frames" else None)
    accounts = {guest["name"]: guest for guest in measure["guests"]}
    mapped_bytes = (250 + 52 + 1) * 4096
    assert accounts["LINUX01"]["guest"] == {
        "xip_bytes": mapped_bytes,
        "page_cache_bytes": 0,
        "buffer_bytes": 0,
        "anonymous_bytes": 0,
        "module_bytes": 0,
    }
    assert accounts["BASE"]["guest"]["xip_bytes"] == 0
    assert accounts["BASE"]["guest"]["page_cache_bytes"] == mapped_bytes
    assert accounts["BASE"]["host"]["uss_bytes"] > accounts["LINUX01"]["host"]["uss_bytes"] + mapped_bytes // 2
    (segment,) = measure["segments"]
    assert segment["unused_bytes"] == segment["resident_bytes"] - mapped_bytes
    assert measure["totals"] == {
        "with_sharing_bytes": segment["resident_bytes"],
        "without_sharing_bytes": 3 * mapped_bytes,
        "saved_bytes": 3 * mapped_bytes - segment["resident_bytes"],
    }
    assert measure["segments"][0]["guests"] == 4
    assert [guest["exit_status"] for guest in result["guests"]] == [0] * 4
    assert objects(NAME) == []


def test_timings_say_where_starts_go_of_clones_and_of_boots_in_full(image: Path) -> None:
    trace = image.parent / "trace.json"
    done = dcss("run", config(image, base="ro"), "--timings", trace, "--json", home=image.parent)
    assert done.returncode == 0, done.stderr
    timings = json.loads(done.stdout)["timings"]
    guests = {guest["name"]: guest for guest in timings["guests"]}
    assert {name: guest["boot"] for name, guest in guests.items()} == {
        "LINUX01": "full",
        "LINUX02": "clone",
        "LINUX03": "clone",
        "BASE": "full",
    }
    for guest in guests.values():
        assert sum(guest["stages"].values()) == pytest.approx(guest["seconds"], abs=1e-6)
        assert {"fork", "hypercalls", "map"} <= {stage for stage, seconds in guest["stages"].items() if seconds > 0}
        assert guest["seconds"] > 0
    assert guests["LINUX01"]["stages"]["mount"] > 0
    for name in ("LINUX01", "LINUX02", "LINUX03"):
        assert guests[name]["stages"]["populate"] > 0
    for name in ("LINUX02", "LINUX03"):  # all that it has of the first one's boot
        assert guests[name]["stages"]["mount"] == guests[name]["stages"]["kernel"] == 0
    events = json.loads(trace.read_text())["traceEvents"]
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert list(tracks.values()) == ["CP", "engine process", "LINUX01", "LINUX02", "LINUX03", "BASE"]
    (starting,) = (event for event in events if event["name"] == "start guests")
    ready = [event["ts"] for event in events if event["name"] == "ready"]
    assert len(ready) == 4
    assert all(starting["ts"] <= at <= starting["ts"] + starting["dur"] for at in ready)  # one clock for all


def test_timings_are_a_table_on_the_screen_and_only_if_asked_for(image: Path) -> None:
    shown = dcss("run", config(image), "--timings", home=image.parent)
    assert shown.returncode == 0, shown.stderr
    assert "START IN MS" in shown.stdout
    plain = dcss("run", config(image), "--json", home=image.parent)
    assert json.loads(plain.stdout)["timings"] is None


def test_timings_do_not_write_over_a_configuration(image: Path) -> None:
    path = config(image)
    before = path.read_text()
    done = dcss("run", path, "--timings", path, home=image.parent)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "put CONFIG before --timings" in done.stderr
    assert path.read_text() == before
    unwritable = dcss("run", path, "--timings", image.parent / "none/trace", home=image.parent)
    assert unwritable.returncode == 2
    assert "--timings: found no directory" in unwritable.stderr


def test_the_verdict_is_first_on_the_screen(image: Path) -> None:
    done = dcss("run", config(image, base="ro"), home=image.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"VERIFIED  {NAME}: 3 guests share 3 files")
    assert "\nverify, 4 guests, " in done.stderr, "each guest that was searched moves the bar"
    assert "no guest uses" in done.stdout  # what mke2fs writes beside the files


def test_nothing_mapped_is_refuted(image: Path) -> None:
    done = dcss("run", config(image, run='read: "/usr/lib/*.txt"'), "--json", home=image.parent)
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert claims(result)["one-frame-per-page"] is False
    assert result["verify"]["verdict"] == "refuted"


def test_a_baseline_that_shares_is_refuted_and_nothing_else_is(image: Path) -> None:
    done = dcss("run", config(image, base="ro, xip"), "--json", home=image.parent)
    assert done.returncode == 1
    found = claims(json.loads(done.stdout))
    assert found.pop("baselines-copy") is False
    assert all(holds is True for holds in found.values())


@pytest.mark.slow
def test_guests_that_copy_but_expect_sharing_are_refuted(image: Path) -> None:
    done = dcss("run", config(image, options="ro"), "--json", home=image.parent)
    assert done.returncode == 1
    found = claims(json.loads(done.stdout))
    assert found["one-frame-per-page"] is False
    assert found["no-hidden-copies"] is False
    assert found["books-close"] is True
    (hint,) = json.loads(done.stdout)["verify"]["hints"]
    assert "guests LINUX01, LINUX02 and 1 more: mounts[0]: dcssblk0 (LIB) is mounted at / without xip" in hint
    assert "wanted options: [ro, xip]" in hint


def test_a_failed_guest_is_exit_3_with_its_log(image: Path) -> None:
    done = dcss("run", config(image, run='map: "/nosuch/*"'), home=image.parent)
    assert done.returncode == 3
    assert "matches no regular file" in done.stdout + done.stderr
    assert objects(NAME) == []


def test_evidence_is_written(image: Path) -> None:
    target = image.parent / "evidence.json"
    assert dcss("run", config(image), "--evidence", target, home=image.parent).returncode == 0
    assert target.stat().st_size > 1000
    refused = dcss("run", config(image), "--evidence", image.parent / "nosuch" / "x", home=image.parent)
    assert refused.returncode == 2
    assert "nosuch" in refused.stderr


# The command, once Python itself is there: what an interpreter does that is interrupted while it begins is its own.
BEGUN = "import runpy; print('begun', flush=True); runpy.run_module('dcss', run_name='__main__', alter_sys=True)"


@pytest.mark.parametrize("seed", range(6))
def test_ctrl_c_at_any_moment_leaves_nothing(image: Path, seed: int) -> None:
    delay = random.Random(seed).uniform(0.05, 1.6)
    environment = os.environ | {"XDG_RUNTIME_DIR": str(image.parent), "XDG_STATE_HOME": str(image.parent / "state")}
    arguments = ["-c", BEGUN, "run", str(config(image, base="ro"))]
    child = pexpect.spawn(sys.executable, arguments, env=environment, timeout=300)
    child.expect_exact("begun")
    time.sleep(delay)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus in {0, 130} or child.signalstatus == signal.SIGINT  # 0: it was done before
    assert objects(NAME) == []
    wait_until(lambda: not named_processes(), named_processes)


def named_processes() -> list[str]:
    """Return processes of guests with the names of this test's."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            name = comm.read_text().strip()
        except OSError:
            continue
        if name in {"dcss:LINUX01", "dcss:LINUX02", "dcss:LINUX03"} and NAME in _maps(comm.parent):
            found.append(name)
    return found


def _maps(process: Path) -> str:
    try:
        return (process / "maps").read_text()
    except OSError:
        return ""
