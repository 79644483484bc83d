"""`dcss fleet plan`: what a fleet needs, by measurements or estimates, also where it does not exist."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from dcss.cli.fleet import command
from dcss.config.load_fleet import load_fleet
from dcss.errors import ConfigError
from dcss.schemas.registry import document_schema

MOUNT = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"
SEGMENT = "segments: [{name: LIB, at: 0x20000000, size: 16M}]"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def fleet(tmp_path: Path, *lines: str) -> Path:
    return write(tmp_path / "fleet.yaml", *lines)


def planned(path: Path, *options: str, status: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(command, ["plan", str(path), "--json", *options], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == status
    document = json.loads(done.stdout)
    Draft202012Validator(document_schema("fleet plan")).validate(document)
    return dict(document)


def measured(tmp_path: Path) -> Path:
    guests = [{"name": f"G{number:02}", "host": {"uss_bytes": size}} for number, size in ((1, 900), (2, 300), (3, 310))]
    segments = [{"name": "LIB", "resident_bytes": 5000}]
    others = [{"name": "CP", "host": {"uss_bytes": 7000}}, {"name": "forkserver", "host": {"uss_bytes": 50}}]
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"measure": {"guests": guests, "segments": segments, "others": others}}))
    return path


def test_measured_bytes_are_what_is_placed(tmp_path: Path) -> None:
    path = fleet(
        tmp_path,
        "hosts: [{name: a, memory: 20K}, {name: b, memory: 1G}]",
        SEGMENT,
        f"guests: [{{name: G, count: 30, {MOUNT}}}]",
    )
    document = planned(path, "--measured", str(measured(tmp_path)))
    first, second = document["hosts"]
    assert document["estimates"] == []
    assert first["guests"] == 1 + (20480 - 5000 - 7050 - 900) // 305
    assert first["private_bytes"] == 900 + (first["guests"] - 1) * 305
    assert first["needed_bytes"] == first["private_bytes"] + 5000 + 7050 <= 20480
    assert second["guests"] == 30 - first["guests"]
    assert second["placed"][0]["last"] == "G30"
    assert document["segments"] == [{"name": "LIB", "bytes": 5000, "hosts": 2}]


def test_what_was_not_measured_is_called_an_estimate(tmp_path: Path) -> None:
    path = fleet(tmp_path, SEGMENT, f"guests: [{{name: G, count: 2, {MOUNT}}}, {{name: K, {MOUNT}}}]")
    document = planned(path, "--measured", str(measured(tmp_path)), "--workers", "2")
    assert [line.partition(":")[0] for line in document["estimates"]] == ["K", "hosts without memory"]
    assert len(planned(path)["estimates"]) == 4


def test_what_does_not_fit_names_each_host_and_what_it_lacks(tmp_path: Path) -> None:
    path = fleet(
        tmp_path,
        "hosts: [{name: a, memory: 20K}, {name: b, memory: 1M, guests: 2}]",
        SEGMENT,
        f"guests: [{{name: G, count: 900, {MOUNT}}}]",
    )
    document = planned(path, "--measured", str(measured(tmp_path)), status=3)
    assert not document["fits"]
    assert document["unplaced_guests"] == 900 - sum(host["guests"] for host in document["hosts"])
    first, second = document["lacks"]
    assert (first["host"], first["lacks_bytes"]) == ("a", 305 - first["free_bytes"])
    assert (second["host"], second["lacks_bytes"]) == ("b", None)
    assert second["reason"] == "may have 2 guests and has 2"
    text = CliRunner().invoke(command, ["plan", str(path), "--measured", str(measured(tmp_path))]).stdout
    assert f"host a: {first['free_bytes']} B left, G needs 305 B for one more: lacks {first['lacks_bytes']} B" in text


def test_a_thousand_hosts_and_a_million_guests_are_planned_entry_by_entry(tmp_path: Path) -> None:
    path = fleet(
        tmp_path,
        "hosts: [{name: H, count: 1000, memory: 2G}]",
        SEGMENT,
        f"guests: [{{name: G, count: 900000, {MOUNT}}}, {{name: K, count: 100000, {MOUNT}}}]",
    )
    document = planned(path)
    assert sum(host["guests"] for host in document["hosts"]) == 1_000_000
    assert [step["guests"] for step in document["growth"]] == [10_000, 100_000, 1_000_000]
    names = [(placed["first"], placed["last"]) for host in document["hosts"] for placed in host["placed"]]
    assert names[0][0] == "G000001"
    assert names[-1][1] in {"K100000", "G900000"}
    assert document["growth"][2]["needed_bytes"] > 90 * document["growth"][0]["private_bytes"]


def test_guests_that_wait_for_others_or_write_for_others_stay_on_one_host(tmp_path: Path) -> None:
    path = fleet(
        tmp_path,
        "placement: spread",
        "segments: [{name: LIB, at: 0x20000000, size: 1M}, {name: DATA, at: 0x30000000, size: 1M, type: SN}]",
        "guests:",
        "  - {name: A, count: 4, dcssblk: [LIB], after: [B]}",
        "  - {name: B, dcssblk: [LIB]}",
        "  - {name: W, count: 4, dcssblk: [DATA]}",
        "  - {name: R, count: 8, dcssblk: [LIB]}",
    )
    assert {frozenset(each) for each in load_fleet(path).bound} == {frozenset({0, 1}), frozenset({2})}
    on_hosts = [{placed["entry"] for placed in host["placed"]} for host in planned(path, "--workers", "3")["hosts"]]
    for together in ({"A", "B"}, {"W"}):
        assert sum(bool(together & entries) for entries in on_hosts) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("hosts: []", SEGMENT), "fleet.yaml:1: hosts: found an empty list, wanted all, or at least one host"),
        (("hosts: [a, b, a]", SEGMENT), "fleet.yaml:1: hosts[2].name: found 'a' again, wanted a name of its own"),
        (
            ("hosts: [{name: a, memroy: 1G}]", SEGMENT),
            "memroy: found an unknown key, wanted one of name, count, memory",
        ),
        (("placement: packed", SEGMENT), "placement: found 'packed', wanted one of pack, spread (did you mean pack"),
        (("segments: [{name: LIB, at: 0x20000000, image: {files: [/bin/sh]}}]",), "size: found no size of segment LIB"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_field(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    path = fleet(tmp_path, *lines, f"guests: [{{name: G, {MOUNT}}}]")
    done = CliRunner().invoke(command, ["plan", str(path)])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_a_file_that_is_no_measurement_is_refused(tmp_path: Path) -> None:
    path = fleet(tmp_path, SEGMENT, f"guests: [{{name: G, {MOUNT}}}]")
    other = write(tmp_path / "other.json", '{"guests": [{}]}')
    done = CliRunner().invoke(command, ["plan", str(path), "--measured", str(other)])
    assert "wanted a document of dcss measure --json" in str(done.exception)


def test_a_system_takes_neither_hosts_nor_more_guests_than_before(tmp_path: Path) -> None:
    from dcss.config.load import load_plan

    with pytest.raises(ConfigError, match="hosts: found an unknown key"):
        load_plan(fleet(tmp_path, "hosts: all", SEGMENT))
    with pytest.raises(ConfigError, match="100000 guests in all"):
        load_plan(fleet(tmp_path, SEGMENT, "guests: [{name: G, count: 100000}]"))
