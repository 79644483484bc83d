"""Each host gets the YAML of a system with its own guests, whose names do not depend on where they run."""

import re
from pathlib import Path

import pytest

from dcss.config.load import load_plan
from dcss.config.load_fleet import load_fleet
from dcss.config.sources import Ext2Source
from dcss.errors import ConfigError
from dcss.fleet.host_yaml import check_portable, host_yaml, system_on, with_images
from dcss.fleet.planning import Assignment, HostGuests
from dcss.image.make import segment_images

MOUNT = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"


def fleet(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "tree").mkdir(exist_ok=True)
    path = tmp_path / "web.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_host_runs_its_part_of_the_guests_under_their_names(tmp_path: Path) -> None:
    segments = "[{name: LIB, at: 0x20000000, image: {directory: tree}}, {name: DB, at: 0x30000000, size: 1M}]"
    guests = [f"{{name: G, count: 120, dcssblk: [LIB], {MOUNT}}}", "{name: ONE, dcssblk: [DB], run: [{map: '/$${x'}]}"]
    path = fleet(tmp_path, "hosts: [a, b]", f"segments: {segments}", f"guests: [{', '.join(guests)}]")
    plan = load_fleet(path)
    assigned = Assignment("a", (HostGuests(plan.entries[0], 99, 101), HostGuests(plan.entries[1], 1, 1)), ("LIB", "DB"))
    text = with_images(host_yaml(plan, assigned, {"LIB": "abc"}), tmp_path / "ca${che")
    (tmp_path / "host.yaml").write_bytes(text)
    (tmp_path / "ca${che").mkdir()
    (tmp_path / "ca${che/abc").write_bytes(bytes(4096))
    found = load_plan(tmp_path / "host.yaml")
    assert found.name == "web-a"
    assert [guest.name for guest in found.guests] == ["G099", "G100", "G101", "ONE"]
    assert found.guests[3].run[0].argument == "/${x"
    assert found.segments[0].image == Ext2Source(tmp_path / "ca${che/abc")
    assert found.segments[1].image is None


def test_segments_that_the_guests_of_a_host_do_not_load_are_not_there(tmp_path: Path) -> None:
    plan = load_fleet(
        fleet(
            tmp_path,
            "segments: [{name: A, at: 0x20000000, size: 1M}, {name: B, at: 0x30000000, size: 1M}]",
            "guests: [{name: G, count: 2, dcssblk: [B]}]",
        )
    )
    assigned = Assignment("h", (HostGuests(plan.entries[0], 2, 2),), ("B",))
    (tmp_path / "host.yaml").write_bytes(with_images(host_yaml(plan, assigned, {}), tmp_path))
    found = load_plan(tmp_path / "host.yaml")
    assert [segment.name for segment in found.segments] == ["B"]
    assert [guest.name for guest in found.guests] == ["G02"]


def test_images_are_built_from_the_files_that_the_fleet_names(tmp_path: Path) -> None:
    path = fleet(
        tmp_path,
        "segments: [{name: A, at: 0x20000000, image: {directory: tree}}, {name: B, at: 0x30000000, size: 1M}]",
        "guests: [{name: G}]",
    )
    (image,) = segment_images(load_fleet(path).segments, tmp_path / "images")
    assert image.source == load_plan(path).segments[0].image
    assert image.path == tmp_path / "images" / "A.img"


@pytest.mark.parametrize("host", ["tcp://10.0.0.1:4711", "Host1", "x" * 60, "h_1", "h-1"])
def test_names_of_systems_are_names_and_differ_where_hosts_do(host: str) -> None:
    from dcss.config.values import SYSTEM_NAME

    assert re.fullmatch(SYSTEM_NAME, system_on("fleet-with-a-name", host))
    others = {system_on("fleet-with-a-name", each) for each in ("h-1", "H-1", "h_1", "h.1", "x" * 59, "x" * 60)}
    assert len(others) == 6
    assert system_on("web", "h-1") == "web-h-1"


def test_files_of_this_machine_are_refused(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(4096))
    plan = load_fleet(
        fleet(
            tmp_path,
            "segments: [{name: A, at: 0x20000000, size: 1M}]",
            "guests:",
            "  - {name: G, disks: [{name: vdb, file: disk}]}",
            "  - {name: K, engine: linux, kernel: bzImage}",
        )
    )
    with pytest.raises(ConfigError) as raised:
        check_portable(plan)
    first, second = raised.value.findings
    assert "web.yaml:3: guests[0].disks: found disks:, wanted none in a fleet" in first
    assert "web.yaml:4: guests[1].kernel: found a file of this machine" in second


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("numbers: [1, 2]", "numbers: found numbers: without count:, wanted it only beside count:"),
        ("count: 4, numbers: [3, 5]", "numbers: found 3 to 5, wanted the first and the last of 1 to 4"),
        ("count: 4, numbers: [3, 2]", "numbers: found 3 to 2, wanted the first and the last of 1 to 4"),
    ],
)
def test_numbers_that_no_guest_has_are_refused(tmp_path: Path, keys: str, message: str) -> None:
    path = fleet(tmp_path, "segments: [{name: A, at: 0x20000000, size: 1M}]", f"guests: [{{name: G, {keys}}}]")
    with pytest.raises(ConfigError) as raised:
        load_plan(path)
    assert message in str(raised.value)


def test_a_fleet_takes_no_numbers(tmp_path: Path) -> None:
    segment = "segments: [{name: A, at: 0x20000000, size: 1M}]"
    path = fleet(tmp_path, segment, "guests: [{name: G, count: 4, numbers: [1, 2]}]")
    with pytest.raises(ConfigError, match="a fleet deals the guests out itself"):
        load_fleet(path)
