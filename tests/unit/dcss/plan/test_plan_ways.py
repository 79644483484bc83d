"""One configuration becomes one for each way to file bytes."""

from pathlib import Path

import pytest

from dcss.config.document import read_document
from dcss.config.plan import SystemPlan
from dcss.errors import ConfigError
from dcss.plan.ways import WAYS, Way, plan_for

YAML = """
system: demo
segments:
  - {name: LIB, at: 0x20000000, image: {directory: tree}}
guests:
  - {name: A, mounts: [{device: dcssblk0, at: /, options: [ro, xip]}, {type: tmpfs, at: /tmp, options: [size=1M]}]}
  - {name: B, expect: copies, storage: 32M, mounts: [{device: dcssblk0, at: /, options: [ro]}]}
  - {name: C, expect: nothing, mounts: [{device: dcssblk0, at: /, options: [OPTION], mode: page-cache}]}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"1")
    return tmp_path


def plan(tree: Path, way: Way, option: str = "ro") -> SystemPlan:
    path = tree / "demo.yaml"
    path.write_text(YAML.replace("OPTION", option))
    return plan_for(way, read_document(path), path)


@pytest.mark.parametrize("way", WAYS)
def test_every_guest_reaches_its_files_by_the_way(tree: Path, way: Way) -> None:
    made = plan(tree, way)
    mode = "page-cache" if way == "ksm" else way
    assert made.name == f"demo-{way}"
    assert {mount.mode for guest in made.guests for mount in guest.mounts if mount.type == "ext2"} == {mode}
    assert made.guests[0].mounts[1].type == "tmpfs"
    assert all(mount.in_place == (mode in {"xip", "mtd"}) for guest in made.guests for mount in guest.mounts[:1])


@pytest.mark.parametrize(
    ("way", "expected"), [("xip", "shared"), ("mtd", "shared"), ("ramdisk", "copies"), ("ksm", "nothing")]
)
def test_what_is_expected_follows_the_way(tree: Path, way: Way, expected: str) -> None:
    assert [guest.expect for guest in plan(tree, way).guests] == [expected, expected, "nothing"]


def test_all_ways_have_the_same_room(tree: Path) -> None:
    rooms = {guest.storage_bytes for way in WAYS for guest in plan(tree, way).guests}
    assert rooms == {0x20000000}


def test_a_mount_that_writes_is_no_mtd(tree: Path) -> None:
    with pytest.raises(ConfigError, match="rw beside mode: mtd"):
        plan(tree, "mtd", "rw")
    assert plan(tree, "ramdisk", "rw").guests[2].mounts[0].options == ("rw",)


def test_a_configuration_without_a_segment_to_mount_is_named(tree: Path) -> None:
    path = tree / "none.yaml"
    path.write_text(YAML.split("guests:", maxsplit=1)[0] + "guests: [{name: A}]\n")
    with pytest.raises(ConfigError, match="found none that mounts a segment"):
        plan_for("xip", read_document(path), path)


def test_what_is_wrong_in_the_file_is_named_with_its_line(tree: Path) -> None:
    path = tree / "wrong.yaml"
    path.write_text(YAML.replace("at: /,", "at: 5,", 1).replace("OPTION", "ro"))
    with pytest.raises(ConfigError, match=r"wrong.yaml:6: guests\[0\].mounts\[0\].at"):
        plan_for("ramdisk", read_document(path), path)
