"""A fleet on stand-ins, and on workers of Dask: up, asked, broken, repaired and taken down."""

import csv
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_support import Dcss
from dask_support import Dask
from jsonschema import Draft202012Validator
from report_support import decoded_runs

from dcss.fleet.content import CHUNK_BYTES
from dcss.schemas.registry import document_schema

MOUNT = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}], run: [{map: '/**/*'}]"


def write_fleet(dcss: Dcss, *, guests: int = 2, hosts: str = "[a, b]") -> Path:
    path = dcss.home / "fleet.yaml"
    path.write_text(
        f"system: f{os.getpid()}\nhosts: {hosts}\nplacement: spread\n"
        "segments: [{name: LIB, at: 0x20000000, image: {directory: tree}}]\n"
        f"guests: [{{name: G, count: {guests}, {MOUNT}}}]\n"
    )
    dcss.own(path)
    return path


def fleet(dcss: Dcss, command: str, path: Path, *options: str, status: int = 0) -> Any:
    document = dcss.json("fleet", command, path, *options, status=status)
    if "error" not in document:
        Draft202012Validator(document_schema(f"fleet {command}")).validate(document)
    return document


def by_host(document: Any, *keys: str) -> dict[str, Any]:
    found = {}
    for host in document["hosts"]:
        value = host
        for key in keys:
            value = value[key]
        found[host["host"]] = value
    return found


def names_of(document: Any) -> dict[str, list[str]]:
    return {host["host"]: [guest["name"] for guest in host["document"]["guests"]] for host in document["hosts"]}


def left_of(dcss: Dcss) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"dcss.f{os.getpid()}-*")]


def metrics_of(dcss: Dcss, path: Path, *, status: int = 0) -> set[tuple[str, str, float]]:
    """Return the samples of all hosts: name, host and value."""
    document = fleet(dcss, "metrics", path, status=status)
    samples = [sample for metric in document["metrics"] for sample in metric["samples"]]
    assert {sample["labels"]["system"] for sample in samples} == {document["system"]}
    return {(sample["name"], sample["labels"]["host"], sample["value"]) for sample in samples}


def assert_csv_has_the_rows_of_all_hosts(dcss: Dcss, path: Path, measured: Any) -> None:
    rows = list(csv.DictReader(dcss("fleet", "measure", path, "--csv").stdout.splitlines()))
    assert [(row["host"], row["name"]) for row in rows] == [("a", "G01"), ("b", "G02")]
    guests = [guest for host in measured["hosts"] for guest in host["document"]["guests"]]
    assert [row["mapped_segment_bytes"] for row in rows] == [str(guest["mapped_segment_bytes"]) for guest in guests]
    rows = list(csv.DictReader(dcss("fleet", "ps", path, "--csv", "hosts").stdout.splitlines()))
    assert [(row["host"], row["reason"]) for row in rows] == [("a", ""), ("b", "")]


def segments_of(page: Path) -> list[dict[str, Any]]:
    """Return the segments whose pages a report draws."""
    found = re.search('<script type="application/json" id="data">(.*)</script>', page.read_text())
    assert found is not None
    segments: list[dict[str, Any]] = json.loads(found[1])["segments"]
    return segments


def assert_report_has_the_pages_of_all_hosts(page: Path) -> None:
    segments = segments_of(page)
    assert [(segment["name"], segment["host"]) for segment in segments] == [("LIB on a", "a"), ("LIB on b", "b")]
    # The guest of each host uses what that of the other does, and they are two sets of guests.
    used_by = [set(decoded_runs(segment["set"])) - {0} for segment in segments]
    assert [len(sets) for sets in used_by] == [1, 1]
    assert used_by[0] != used_by[1]


@pytest.mark.slow
def test_stand_ins_come_up_once_are_verified_and_leave_nothing(dcss: Dcss) -> None:
    path = write_fleet(dcss)
    try:
        first = fleet(dcss, "up", path)
        assert names_of(first) == {"a": ["G01"], "b": ["G02"]}
        assert first["sent_bytes"] > 0
        again = fleet(dcss, "up", path)
        assert by_host(again, "adopted") == {"a": True, "b": True}
        assert again["sent_bytes"] == 0
        assert by_host(again, "document", "pid") == by_host(first, "document", "pid")
        assert fleet(dcss, "verify", path)["verdict"] == "verified"
        measured = fleet(dcss, "measure", path)
        for host in measured["hosts"]:
            assert [segment["name"] for segment in host["document"]["segments"]] == ["LIB"]
        assert_csv_has_the_rows_of_all_hosts(dcss, path, measured)
        page = dcss.home / "report.html"
        assert fleet(dcss, "report", path, "-o", str(page))["verdict"] == "verified"
        assert ", on 2 hosts." in page.read_text()
        assert_report_has_the_pages_of_all_hosts(page)
        assert list(dcss.home.rglob("*.evidence.gz")) == []  # of what the hosts wrote, nothing is left
        evidence = dcss.home / "evidence"
        (dcss.home / "v.json").write_text(json.dumps(fleet(dcss, "verify", path, "--evidence", str(evidence))))
        dcss.own(dcss.home / "v.json")
        dcss("fleet", "report", "v.json", "--evidence", evidence, "-o", page)
        assert_report_has_the_pages_of_all_hosts(page)
        assert metrics_of(dcss, path) >= {
            ("dcss_host_up", "a", 1.0),
            ("dcss_host_up", "b", 1.0),
            *(("dcss_segment_users", host, 1.0) for host in "ab"),
            *(("dcss_build_info", host, 1.0) for host in "ab"),
        }

        os.kill(by_host(again, "document", "pid")["b"], signal.SIGKILL)
        broken = fleet(dcss, "verify", path, status=1)
        assert broken["verdict"] == "unproved"
        assert by_host(broken, "reason")["a"] is None
        assert by_host(broken, "reason")["b"]
        assert fleet(dcss, "report", path, "-o", str(page), status=1)["verdict"] == "unproved"
        assert [segment["host"] for segment in segments_of(page)] == ["a"]
        assert "1 of 2 hosts could not be asked." in page.read_text()
        found = metrics_of(dcss, path, status=3)
        assert {host for name, host, _ in found if name != "dcss_host_up"} == {"a"}
        assert ("dcss_host_up", "b", 0.0) in found
        done = dcss("fleet", "measure", path, "--csv", status=3)
        assert [row["host"] for row in csv.DictReader(done.stdout.splitlines())] == ["a"]
        assert done.stderr.startswith("dcss: host b: ")
        repaired = fleet(dcss, "up", path)
        assert by_host(repaired, "adopted") == {"a": True, "b": False}
        assert fleet(dcss, "verify", path)["verdict"] == "verified"
    finally:
        fleet(dcss, "down", path)
    assert left_of(dcss) == []
    fleet(dcss, "down", path)
    assert "found none that is up" in str(fleet(dcss, "ps", path, status=2))


@pytest.mark.slow
def test_metrics_are_served_while_the_fleet_is_up_and_when_it_is_not(dcss: Dcss) -> None:
    path = write_fleet(dcss, hosts="[a]")
    assert "found none that is up" in str(fleet(dcss, "metrics", path, "--listen", "0", status=2))
    try:
        fleet(dcss, "up", path)
        written = dcss.home / "fleet.prom"
        assert fleet(dcss, "metrics", path, "--textfile", str(written))["file"] == str(written)
        assert 'dcss_segment_users{host="a",segment="LIB"' in written.read_text()
        with dcss.start("fleet", "metrics", path, "--listen", "0", stderr=subprocess.PIPE) as server:
            try:
                assert server.stderr is not None
                url = server.stderr.readline().split()[-1]
                assert samples_at(url) >= {"dcss_host_up", "dcss_segment_users"}
                fleet(dcss, "down", path)
                assert samples_at(url) == set()
            finally:
                server.send_signal(signal.SIGINT)
    finally:
        fleet(dcss, "down", path)
    assert left_of(dcss) == []


def samples_at(url: str) -> set[str]:
    with urllib.request.urlopen(url, timeout=300) as answer:
        lines = answer.read().decode().splitlines()
    return {line.split("{")[0] for line in lines if not line.startswith("#")}


@pytest.mark.slow
def test_run_does_all_of_it_and_each_host_pays_for_its_segments_once(dcss: Dcss) -> None:
    path = write_fleet(dcss, guests=4)
    result = fleet(dcss, "run", path)
    assert result["verdict"] == result["verify"]["verdict"] == "verified"
    assert by_host(result["verify"], "document", "verdict") == {"a": "verified", "b": "verified"}
    hosts = by_host(result["measure"], "document")
    assert names_of(result["measure"]) == {"a": ["G01", "G02"], "b": ["G03", "G04"]}
    segments = [segment["resident_bytes"] for each in hosts.values() for segment in each["segments"]]
    assert len(segments) == 2
    assert result["measure"]["totals"] == {
        "guests": 4,
        "private_bytes": sum(guest["host"]["uss_bytes"] for each in hosts.values() for guest in each["guests"]),
        "segment_bytes": sum(segments),
        "saved_bytes": sum(each["totals"]["saved_bytes"] for each in hosts.values()),
    }
    assert left_of(dcss) == []
    assert "found none that is up" in str(fleet(dcss, "ps", path, status=2))
    lines = dcss("fleet", "run", path).stdout.splitlines()
    assert lines[0] == lines[-1] == f"VERIFIED: f{os.getpid()} on 2 of 2 hosts"
    guests = [line.split()[:2] for line in lines if " process " in line]
    assert guests == [["a", "G01"], ["a", "G02"], ["b", "G03"], ["b", "G04"]]


@pytest.mark.slow
def test_run_exits_as_its_guests_say(dcss: Dcss) -> None:
    path = write_fleet(dcss)
    path.write_text(path.read_text().replace("map: '/**/*'", "map: /none"))
    result = fleet(dcss, "run", path, status=3)
    assert result["up"]["hosts"][0]["document"]["guests"][0]["exit_status"]
    assert left_of(dcss) == []


def test_the_schema_of_the_yaml_takes_what_is_read(dcss: Dcss) -> None:
    validator = Draft202012Validator(document_schema("FLEET.yaml"))
    for hosts in ("[a, {name: b, memory: 1G, guests: 5}]", "all"):
        path = write_fleet(dcss, hosts=hosts)
        validator.validate(yaml.safe_load(path.read_text()))
        dcss("fleet", "plan", path)
    assert list(validator.iter_errors({**yaml.safe_load(path.read_text()), "hosts": "some"}))


@pytest.mark.slow
def test_a_segment_is_sent_once_to_each_host_and_a_broken_transfer_goes_on(home: Dcss) -> None:
    path = write_fleet(home, guests=3, hosts="[a, b, c]")
    (home.home / "tree/data").write_bytes(os.urandom(3 * CHUNK_BYTES))
    try:
        sent_bytes = fleet(home, "up", path)["sent_bytes"]
        segments = list((home.home / "state").rglob("segments/*"))
        sizes = [segment.stat().st_size for segment in segments]
        assert len(set(sizes)) == 1
        assert (len(sizes), sum(sizes)) == (3, sent_bytes)
        fleet(home, "down", path)
        # As the end of a worker in the middle leaves it: all but one chunk is there, under the name of what comes.
        part = segments[0].with_suffix(".part")
        segments[0].rename(part)
        part.chmod(0o600)
        with part.open("r+b") as stream:
            stream.seek(CHUNK_BYTES)
            stream.write(bytes(CHUNK_BYTES))
        assert fleet(home, "up", path)["sent_bytes"] == CHUNK_BYTES
    finally:
        fleet(home, "down", path)
    assert left_of(home) == []


@pytest.mark.slow
def test_what_a_failed_test_leaves_on_hosts_is_swept(home: Dcss) -> None:
    fleet(home, "up", write_fleet(home))
    assert left_of(home) != []
    home.sweep()
    assert left_of(home) == []
    assert list(home.own_processes()) == []


@pytest.mark.slow
def test_another_yaml_replaces_what_runs(dcss: Dcss) -> None:
    path = write_fleet(dcss, hosts="[a]")
    try:
        fleet(dcss, "up", path)
        write_fleet(dcss, guests=3, hosts="[a]")
        assert names_of(fleet(dcss, "up", path)) == {"a": ["G01", "G02", "G03"]}
    finally:
        fleet(dcss, "down", path)
    assert left_of(dcss) == []


@pytest.mark.parametrize("address", ["192.0.2.1:8786", "tcp://host.example:8786"])
def test_an_address_beyond_this_machine_needs_tls(dcss: Dcss, address: str) -> None:
    lines = fleet(dcss, "ps", write_fleet(dcss), "--scheduler", address, status=2)["error"]["lines"]
    assert f"--scheduler: found {address}, wanted tls://" in lines[0]


@pytest.fixture
def dask(dcss: Dcss) -> Iterator[Dask]:
    running = Dask(dcss)
    try:
        yield running
    finally:
        running.close()


@pytest.mark.slow
@pytest.mark.minutes
def test_workers_run_their_parts_and_a_lost_one_leaves_the_fleet_unproved(dcss: Dcss, dask: Dask) -> None:
    path = write_fleet(dcss)
    scheduler = ("--scheduler", dask.address)
    dask.worker("a")
    worker = dask.worker("b")
    try:
        up = fleet(dcss, "up", path, *scheduler)
        assert names_of(up) == {"a": ["G01"], "b": ["G02"]}
        assert fleet(dcss, "verify", path, *scheduler)["verdict"] == "verified"
        worker.kill()
        worker.wait()
        lost = fleet(dcss, "verify", path, *scheduler, status=1)
        assert lost["verdict"] == "unproved"
        assert by_host(lost, "reason")["b"] in {"has no worker", "lost its worker"}
        dask.worker("b")  # its CP stayed up
        again = fleet(dcss, "up", path, *scheduler)
        assert by_host(again, "adopted") == {"a": True, "b": True}
        assert again["sent_bytes"] == 0
    finally:
        fleet(dcss, "down", path, *scheduler)
    assert left_of(dcss) == []
