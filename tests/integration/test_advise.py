"""`dcss advise`: what it finds in common, and that `dcss run` of what it wrote finds what was forecast."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_support import TIMEOUT_SECONDS, Dcss
from container_support import docker_archive, oci_archive
from plan_support import write_files

from dcss.abi.page import PAGE_SIZE

_TOLERANCE = 0.02
_STREAMS: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
_WEB = {"usr/lib/libc.so": 300, "usr/lib/libssl.so": 90, "usr/bin/web": 40}
_DATABASE = {"usr/lib/libc.so": 300, "usr/lib/libicu.so": 700, "usr/bin/db": 120}


@pytest.fixture
def web(dcss: Dcss) -> Path:
    return write_files(dcss.home / "web", _WEB)


@pytest.fixture
def database(dcss: Dcss) -> Path:
    tree = write_files(dcss.home / "database", _DATABASE)
    (tree / "usr/lib/libssl-of-db.so").write_bytes(
        (write_files(dcss.home / "w", _WEB) / "usr/lib/libssl.so").read_bytes()
    )
    return tree


def _check_forecast(
    dcss: Dcss, advice: dict[str, Any], path: Path, *, seconds: float = TIMEOUT_SECONDS
) -> dict[str, Any]:
    """Run what was written and compare it with the forecast that it was written for."""
    forecast = advice["forecasts"][0]
    found: dict[str, Any] = dcss.json("run", path, timeout_seconds=seconds, status=None)
    measured, guests = found["measure"], found["measure"]["guests"]
    assert found["verify"]["verdict"] == "verified", found["verify"]["claims"]
    assert len(guests) == forecast["guests"]
    for name in ("with_sharing_bytes", "without_sharing_bytes", "saved_bytes"):
        assert measured["totals"][name] == pytest.approx(forecast[name], rel=_TOLERANCE), name
    return found


def _private(found: dict[str, Any]) -> int:
    return sum(guest["host"]["uss_bytes"] for guest in found["measure"]["guests"])


def _paths(advice: dict[str, Any]) -> list[str]:
    return [path for file in advice["files"] if file["chosen"] for path in file["paths"]]


def test_two_directories_share_files_of_equal_content(dcss: Dcss, web: Path, database: Path) -> None:
    output = dcss.home / "shared.yaml"
    advice = dcss.json("advise", web, database, "--guests", "10,1000", "-o", output)
    assert [(file["path"], file["bytes"] // PAGE_SIZE) for file in advice["files"]] == [
        ("/usr/lib/libc.so", 300),
        ("/usr/lib/libssl-of-db.so", 90),
    ]
    assert advice["files"][1]["paths"] == ["/usr/lib/libssl-of-db.so", "/usr/lib/libssl.so"]
    assert [file["guests"] for file in advice["files"]] == [10, 10]
    assert advice["files"][0]["saved_bytes"] == 9 * 300 * PAGE_SIZE
    assert [forecast["guests"] for forecast in advice["forecasts"]] == [10, 1000]
    found = _check_forecast(dcss, advice, output)
    assert _private(found) == pytest.approx(advice["forecasts"][0]["private_bytes"], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("guests", [100, 1000])
def test_many_guests_cost_what_was_forecast(dcss: Dcss, web: Path, database: Path, guests: int) -> None:
    output = dcss.home / "many.yaml"
    advice = dcss.json("advise", web, database, "--guests", str(guests), "-o", output)
    found = _check_forecast(dcss, advice, output, seconds=600)
    assert _private(found) == pytest.approx(advice["forecasts"][0]["private_bytes"], rel=0.1)


def test_one_directory_stands_for_all_guests(dcss: Dcss, web: Path) -> None:
    output = dcss.home / "web.yaml"
    advice = dcss.json("advise", web, "--guests", "10", "--storage", "300M", "-o", output)
    assert sorted(_paths(advice)) == sorted(f"/{path}" for path in _WEB)
    assert advice["segment"]["address"] == 512 << 20
    _check_forecast(dcss, advice, output)


def test_the_number_of_guests_can_be_changed_without_writing_anew(dcss: Dcss, web: Path) -> None:
    dcss("advise", web, "--guests", "10", "-o", dcss.home / "web.yaml")
    dcss.environment["GUESTS"] = "3"
    assert len(dcss.json("config", dcss.home / "web.yaml")["guests"][0]["names"]) == 3


def test_a_container_archive_and_an_image_share_with_a_directory(dcss: Dcss, web: Path, database: Path) -> None:
    dcss("image", "build", database, "-o", dcss.home / "db.img")
    with tarfile.open(dcss.home / "web.tar.gz", "w:gz") as archive:
        archive.add(web, "")
    output = dcss.home / "mixed.yaml"
    advice = dcss.json("advise", dcss.home / "web.tar.gz", dcss.home / "db.img", web, "--guests", "9", "-o", output)
    assert [each["kind"] for each in advice["inputs"]] == ["archive", "image", "directory"]
    assert "/usr/bin/web" in _paths(advice)
    assert "/usr/bin/db" not in _paths(advice)
    _check_forecast(dcss, advice, output)


@pytest.mark.parametrize("write", [docker_archive, oci_archive])
def test_container_images_share_what_their_layers_have(
    dcss: Dcss, web: Path, database: Path, write: Callable[..., Path]
) -> None:
    hidden = write_files(dcss.home / "hidden", {"usr/bin/web": 40}, seed="lower")
    images = [write(dcss.home / "web.tar", hidden, web), write(dcss.home / "db.tar", database)]
    output = dcss.home / "containers.yaml"
    advice = dcss.json("advise", *images, "--guests", "4", "-o", output)
    assert [(each["kind"], each["files"]) for each in advice["inputs"]] == [("archive", 3), ("archive", 4)]
    assert _paths(advice) == ["/usr/lib/libc.so", "/usr/lib/libssl-of-db.so", "/usr/lib/libssl.so"]
    _check_forecast(dcss, advice, output)


def test_what_runs_touch_is_advised(dcss: Dcss) -> None:
    read = f"{dcss.command()[0]} -S -c \"open('{{}}', 'rb', 0).readinto(bytearray(5 << 12))\""
    common, single = (f"/usr/share/common-licenses/{name}" for name in ("GPL-3", "MPL-1.1"))  # anybody may read these
    words = [word for path in (common, common, single) for word in ("--run", read.format(path))]
    output = dcss.home / "runs.yaml"
    advice = dcss.json("advise", *words, "--guests", "9", "-o", output)
    assert [each["kind"] for each in advice["inputs"]] == ["run"] * 3
    (shared,) = [file for file in advice["files"] if file["path"] == common]
    assert shared["touched_bytes"] == 5 * PAGE_SIZE
    assert shared["touched_bytes"] + shared["untouched_bytes"] == shared["bytes"]
    assert shared["guests"] == 6
    assert single not in _paths(advice)
    _check_forecast(dcss, advice, output)


def test_a_run_may_be_a_server_that_is_interrupted(dcss: Dcss) -> None:
    server = f"{dcss.command()[0]} -c \"import os, signal; os.write(2, b'ready'); signal.pause()\""
    with dcss.start("advise", "--run", server, "--json", **_STREAMS) as process:
        assert process.stderr is not None
        assert process.stderr.read(5) == "ready"
        process.send_signal(signal.SIGINT)
        advice = json.loads(process.communicate(timeout=300)[0])
    assert process.returncode == 0
    assert any("interrupted" in note for note in advice["notes"])
    assert any("libc" in path for path in _paths(advice))
    dcss.assert_nothing_left()


def test_a_run_that_is_terminated_leaves_nothing(dcss: Dcss) -> None:
    server = "sh -c 'echo ready >&2; sleep 100 & wait'"
    with dcss.start("advise", "--run", server, **_STREAMS) as process:
        assert process.stderr is not None
        assert process.stderr.read(5) == "ready"
        process.terminate()
        assert process.communicate(timeout=300)[0] == ""
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    dcss.assert_nothing_left()


def test_guests_of_a_configuration_are_asked_about(dcss: Dcss) -> None:
    config = dcss.guests(4, ", storage: 300M")
    output = dcss.home / "again.yaml"
    advice = dcss.json("advise", config, "-o", output)
    assert [(each["name"], each["guests"]) for each in advice["inputs"]] == [("G", 4)]
    assert advice["segment"]["address"] == 512 << 20
    assert advice["forecasts"][0]["guests"] == 4
    _check_forecast(dcss, advice, output)


@pytest.fixture
def sleepers(dcss: Dcss) -> Iterator[list[int]]:
    """Processes of the same user that have mapped the same libraries, and touched some of their pages."""
    command = [dcss.command()[0], "-c", "import ssl, sys; print('ready', flush=True); sys.stdin.read()"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": "/", **dcss.identity}
    started = [subprocess.Popen(command, **streams) for _ in range(2)]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    yield [process.pid for process in started]
    for process in started:
        process.communicate()


def test_processes_share_what_they_have_touched(dcss: Dcss, sleepers: Sequence[int]) -> None:
    output = dcss.home / "processes.yaml"
    words = [word for pid in sleepers for word in ("--pid", str(pid))]
    advice = dcss.json("advise", *words, "--guests", "10", "-o", output)
    (libc,) = [file for file in advice["files"] if "libc.so" in file["path"] or "libc-2" in file["path"]]
    assert 0 < libc["touched_bytes"] <= libc["bytes"] == libc["touched_bytes"] + libc["untouched_bytes"]
    assert libc["chosen"]
    assert advice["inputs"][0]["referenced_bytes"] <= advice["inputs"][0]["touched_bytes"]
    assert advice["forecasts"][0]["touched_saved_bytes"] < advice["forecasts"][0]["saved_bytes"]
    assert "ext2:" not in output.read_text()
    _check_forecast(dcss, advice, output)


def test_a_budget_is_kept_metadata_included(dcss: Dcss, web: Path) -> None:
    budget_bytes = 150 * PAGE_SIZE
    output = dcss.home / "small.yaml"
    advice = dcss.json("advise", web, "--size", str(budget_bytes), "--guests", "10", "-o", output)
    assert sorted(_paths(advice)) == ["/usr/bin/web", "/usr/lib/libssl.so"]
    assert advice["segment"]["bytes"] <= budget_bytes
    assert advice["choice"]["exact"]
    _check_forecast(dcss, advice, output)


def test_an_image_that_alignment_would_make_too_large_keeps_the_budget(dcss: Dcss) -> None:
    tree = write_files(dcss.home / "large", {"a": 600, "b": 400})
    output = dcss.home / "tight.yaml"
    advice = dcss.json("advise", tree, "--size", str(1016 * PAGE_SIZE), "--guests", "10", "-o", output)
    assert sorted(_paths(advice)) == ["/a", "/b"]
    assert advice["segment"]["bytes"] <= 1016 * PAGE_SIZE
    _check_forecast(dcss, advice, output)


def test_odd_names_go_through_the_yaml(dcss: Dcss) -> None:
    names = {"a [b]*?": 3, "$HOME ${X} $$": 2, "q'\"\\: #\t\n": 1, "é": 4, "plain": 1}
    trees = [write_files(dcss.home / name, names) for name in ("one", "two")]
    for tree in trees:
        Path(os.fsdecode(os.fsencode(tree) + b"/\xff")).write_bytes(b"odd" * 5000)
        (tree / "own").write_bytes(tree.name.encode() * 5000)
    output = dcss.home / "odd.yaml"
    advice = dcss.json("advise", *trees, "--min-users", "1", "--guests", "10", "-o", output)
    _check_forecast(dcss, advice, output)


def test_files_are_csv_rows_too(dcss: Dcss, web: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(dcss("advise", web, "--csv").stdout)))
    document = dcss.json("advise", web)
    assert [row["path"] for row in rows] == [file["path"] for file in document["files"]]
    assert [int(row["saved_bytes"]) for row in rows] == [file["saved_bytes"] for file in document["files"]]
    assert {row["touched_bytes"] for row in rows} == {""}
    assert {row["chosen"] for row in rows} == {"true"}


def test_the_table_says_what_to_do(dcss: Dcss, web: Path, database: Path) -> None:
    text = dcss("advise", web, database, "--guests", "10", "-o", dcss.home / "x.yaml").stdout
    assert text.startswith("LIB: 2 files, ")
    assert "DEFSEG LIB 10000-103FF SR" in text
    assert text.endswith(f"dcss run {dcss.home}/x.yaml\n")


def _refused(dcss: Dcss, *arguments: str | Path, status: int = 2) -> str:
    done = dcss("advise", *arguments, status=status)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def _no_program(dcss: Dcss) -> str:
    path = dcss.home / "no-program"
    path.write_bytes(b"\0neither a script nor machine code")
    path.chmod(0o755)
    return str(path)


def test_what_cannot_be_advised_is_one_line(dcss: Dcss, web: Path) -> None:
    other = write_files(dcss.home / "other", {"else": 5})
    assert "--min-users 1" in _refused(dcss, web, other)
    smallest = re.search("wanted at least ([0-9]+)", _refused(dcss, web, "--size", "64K", "--guests", "10"))
    assert smallest is not None
    assert _paths(dcss.json("advise", web, "--size", smallest[1], "--guests", "10")) == ["/usr/bin/web"]
    assert "found no file with content" in _refused(dcss, write_files(dcss.home / "none", {"empty": 0}))
    assert "No such file or directory" in _refused(dcss, dcss.home / "nowhere")
    assert "4194304" in _refused(dcss, "--pid", str(1 << 22))
    assert "wanted one at least" in _refused(dcss)
    assert "found 'no-such-program -x'" in _refused(dcss, "--run", "no-such-program -x")
    assert "No closing quotation" in _refused(dcss, "--run", "sh -c 'x")
    assert "Exec format error" in _refused(dcss, "--run", _no_program(dcss), status=3)


def test_a_file_that_is_there_is_kept(dcss: Dcss, web: Path) -> None:
    output = dcss.home / "kept.yaml"
    output.write_text("mine\n")
    dcss.own(output)
    assert "--force" in _refused(dcss, web, "-o", output)
    assert output.read_text() == "mine\n"
    assert not output.with_suffix(".img").exists()
    dcss("advise", web, "-o", output, "--force")
    assert json.loads(dcss("config", output, "--json").stdout)["system"] == "kept"
