"""Sweeps of real systems: a row for each configuration, once, whatever ends the command in between."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cli_support import GUEST, MAP, Dcss
from dask_support import Dask
from jsonschema import Draft202012Validator
from wait_support import stop, wait_until

from dcss.schemas.registry import document_schema

COPIES = '{"guests.G.mounts[0].options": [ro], guests.G.expect: copies}'


def write_sweep(dcss: Dcss, text: str, run: str = MAP) -> Path:
    dcss.config(f"name: G, {GUEST}, {run}")
    path = dcss.home / "sweep.yaml"
    path.write_text(f"sweep: {dcss.system[-12:].strip('-')}\nsystem: system.yaml\n{text}\n")
    return path


def rows_in(dcss: Dcss, path: str = "rows.jsonl") -> list[dict[str, Any]]:
    validator = Draft202012Validator(document_schema("sweep row"))
    rows = [json.loads(line) for line in (dcss.home / path).read_text().splitlines()]
    for row in rows:
        validator.validate(row)
    return rows


def assert_nothing_left(dcss: Dcss) -> None:
    dcss.assert_nothing_left()
    mark = dcss.system[-12:].strip("-")
    assert [path.name for path in Path("/dev/shm").glob(f"dcss.{mark}*")] == []


def test_each_configuration_has_a_row_in_every_form_and_is_not_run_again(home: Dcss) -> None:
    path = write_sweep(home, f"matrix: {{guests.G.count: [1, 3]}}\ncases: {{xip: {{}}, copies: {COPIES}}}")
    Draft202012Validator(document_schema("SWEEP.yaml")).validate({"system": "a.yaml", "matrix": {"a": [1]}})
    parquet = ["--parquet", "rows.parquet"] if find_spec("pyarrow") else []
    plot = ["--plot", "rows.svg", "--x", "guests.G.count", "--y", "private_bytes"] if find_spec("matplotlib") else []
    result = home.json("sweep", path, "-o", "rows.jsonl", *parquet, *plot)
    Draft202012Validator(document_schema("sweep")).validate(result)
    assert (result["configurations"], result["done"], result["failed"], result["left"]) == (4, 4, 0, 0)

    rows = rows_in(home)
    assert rows == result["rows"]
    found = {(row["case"], row["guests.G.count"]): row for row in rows}
    assert set(found) == {("xip", 1), ("xip", 3), ("copies", 1), ("copies", 3)}
    for (_, count), row in found.items():
        assert (row["verdict"], row["guest_count"], row["failed_guests"]) == ("verified", count, 0)
        assert (row["at_once"], row["host_at_once"]) == (1, 1)
    assert found["copies", 3]["copies_bytes"] > 2 * found["copies", 1]["copies_bytes"] > 0
    assert found["xip", 3]["copies_bytes"] == 0
    table = list(csv.DictReader(home("sweep", path, "-o", "rows.jsonl", "--csv").stdout.splitlines()))
    assert [line["digest"] for line in table] == [row["digest"] for row in rows]
    assert [line["private_bytes"] for line in table] == [str(row["private_bytes"]) for row in rows]
    if plot:
        assert "private, MiB" in (home.home / "rows.svg").read_text()
    if parquet:
        from pyarrow.parquet import read_table  # type: ignore[import-untyped, import-not-found, unused-ignore]

        assert read_table(home.home / "rows.parquet").to_pylist() == rows

    again = home.json("sweep", path, "-o", "rows.jsonl")
    assert again["rows"] == rows_in(home) == rows
    assert_nothing_left(home)


def test_what_fails_has_a_row_that_says_so_and_is_run_again_on_demand(home: Dcss) -> None:
    path = write_sweep(home, 'matrix: {"guests.G.run[0].exec": ["exit 3"]}', run="run: [{exec: 'true'}]")
    (failed,) = home.json("sweep", path, "-o", "rows.jsonl", "--at-once", "2", status=3)["rows"]
    assert (failed["outcome"], failed["exit_status"], failed["failed_guests"]) == ("failed", 3, 1)
    assert "guest G: exit status" in failed["error"]
    assert failed["at_once"] == 2
    (same,) = home.json("sweep", path, "-o", "rows.jsonl", status=3)["rows"]
    assert same == failed
    (again,) = home.json("sweep", path, "-o", "rows.jsonl", "--again", "failed", status=3)["rows"]
    assert again["at_once"] == 1
    assert rows_in(home) == [again]


def test_what_takes_too_long_is_ended(home: Dcss) -> None:
    path = write_sweep(home, "time_limit: 0.05\nmatrix: {guests.G.count: [1]}")
    (late,) = home.json("sweep", path, "-o", "rows.jsonl", status=3)["rows"]
    assert (late["outcome"], late["error"]) == ("timed-out", "ended after its time limit of 0.05 s")
    assert_nothing_left(home)


def wait_for_rows(dcss: Dcss, process: "subprocess.Popen[str]", rows: int) -> None:
    output = dcss.home / "rows.jsonl"

    def written() -> bool:
        assert process.poll() is None
        return output.exists() and output.read_bytes().count(b"\n") >= rows

    wait_until(written, seconds=100)
    time.sleep(0.2)  # in the middle of the next


def begin(dcss: Dcss, path: Path, rows: int, *options: str) -> "subprocess.Popen[str]":
    """Start a sweep, and return it when the output has so many rows."""
    null = subprocess.DEVNULL
    process = dcss.start("sweep", path, "-o", "rows.jsonl", *options, stdout=null, stderr=null)
    wait_for_rows(dcss, process, rows)
    return process


def interrupt(dcss: Dcss, path: Path, rows: int, number: int, *options: str) -> None:
    with begin(dcss, path, rows, *options) as process:
        process.send_signal(number)
        process.wait(300)
    assert process.returncode == (130 if number == signal.SIGINT else -number)


def test_an_interrupted_sweep_leaves_nothing_and_goes_on(home: Dcss) -> None:
    path = write_sweep(home, "matrix: {guests.G.count: [1, 2, 3]}")
    interrupt(home, path, 0, signal.SIGINT)
    assert_nothing_left(home)
    interrupt(home, path, 1, signal.SIGKILL)
    home("sweep", path, "-o", "rows.jsonl")
    rows = rows_in(home)
    assert sorted(row["guests.G.count"] for row in rows) == [1, 2, 3]
    assert {row["verdict"] for row in rows} == {"verified"}
    assert_nothing_left(home)


def test_a_command_ends_with_the_process_that_started_it(home: Dcss) -> None:
    path = home.guests(1)
    words = "[sys.executable, '-m', 'dcss.fleet.tied_child', str(os.getpid()), 'up', sys.argv[1]]"
    text = f"import os, subprocess, sys; subprocess.run({words})"
    with subprocess.Popen([sys.executable, "-c", text, path], env=home.environment, stdout=subprocess.DEVNULL) as owner:
        wait_until(home.segment_objects)
        owner.kill()
    home.assert_nothing_left()


@pytest.mark.slow
def test_forty_configurations_interrupted_twice_have_one_row_each(home: Dcss) -> None:
    path = write_sweep(
        home, f"matrix: {{guests.G.count: {list(range(1, 21))}}}\ncases: {{xip: {{}}, copies: {COPIES}}}"
    )
    interrupt(home, path, 9, signal.SIGINT)
    interrupt(home, path, 22, signal.SIGKILL)
    home("sweep", path, "-o", "rows.jsonl", timeout_seconds=300)
    rows = rows_in(home)
    assert len(rows) == len({row["digest"] for row in rows}) == 40
    assert {(row["number"], row["verdict"]) for row in rows} == {(number, "verified") for number in range(1, 41)}
    assert_nothing_left(home)


@pytest.mark.slow
@pytest.mark.minutes
def test_workers_of_dask_are_lost_and_come_and_each_row_is_there_once(home: Dcss) -> None:
    path = write_sweep(home, f"matrix: {{guests.G.count: {list(range(1, 11))}}}")
    dask = Dask(home)
    try:
        options = ("--scheduler", dask.address)
        dask.worker("a")
        lost = dask.worker("b")
        interrupt(home, path, 2, signal.SIGINT, *options)
        interrupt(home, path, 4, signal.SIGKILL, *options)
        with begin(home, path, 5, *options) as process:
            lost.kill()
            lost.wait()
            dask.worker("c")
            assert process.wait(100) == 0
    finally:
        dask.close()
    rows = rows_in(home)
    assert sorted(row["guests.G.count"] for row in rows) == list(range(1, 11))
    assert {row["verdict"] for row in rows} == {"verified"}
    assert {row["worker"] for row in rows} == {"a", "b", "c"}
    assert {row["at_once"] for row in rows} == {1}
    assert_nothing_left(home)


def test_one_machine_needs_no_dask(home: Dcss) -> None:
    path = write_sweep(home, "matrix: {guests.G.count: [1]}")
    blocked = home.home / "blocked"
    for name in ("distributed", "dask"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text("raise AssertionError('it was imported')\n")
    environment = {**home.environment, "PYTHONPATH": f"{blocked}{os.pathsep}{home.environment['PYTHONPATH']}"}
    home("sweep", path, "-o", "rows.jsonl", env=environment)
    assert len(rows_in(home)) == 1


def test_two_sweeps_do_not_write_one_file(home: Dcss) -> None:
    path = write_sweep(home, "matrix: {guests.G.count: [1, 2, 3]}")
    with begin(home, path, 0) as process:
        stop(process.pid)  # it must not be done before the other begins
        assert "another sweep is writing" in home("sweep", path, "-o", "rows.jsonl", status=2).stderr
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
    assert_nothing_left(home)
