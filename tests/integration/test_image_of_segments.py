"""`dcss image ls|cat|check|map --system`: the segments of a system, read where they lie."""

import base64
from pathlib import Path

import pytest
from cli_support import Dcss

MIB = 1 << 20
SEGMENTS = """\
  - {name: M1, at: 0x20000000, size: 1M, save: true, image: {directory: split}}
  - {name: M2, image: {continues: M1}}
  - {name: BOARD, define: [30000-303FF SW], save: true, image: {directory: tree}}"""


@pytest.fixture
def config(dcss: Dcss) -> Path:
    tree = dcss.home / "split"
    tree.mkdir()
    for number in range(2):
        (tree / f"large{number}").write_bytes(bytes((number, *range(1, 256))) * (200 * 16))
    return dcss.config("name: G, dcssblk: [BOARD, 'M1:M2']", segment=SEGMENTS)


def _check(dcss: Dcss) -> None:
    """Read the file system over both segments by each of the commands."""
    system = ("--system", dcss.system)
    assert dcss("image", "ls", "M1:M2", *system).stdout.split() == ["large0", "large1", "lost+found"]
    for name in ("large0", "large1"):
        read = dcss.json("image", "cat", "m2:m1", f"/{name}", *system)["content_base64"]
        assert base64.b64decode(read) == (dcss.home / "split" / name).read_bytes()
    assert dcss.json("image", "check", "M1:M2", *system)["clean"]
    mapped = dcss.json("image", "map", "M1:M2", *system)
    assert (mapped["address"], mapped["borders"]) == (0x20000000, [MIB])
    files = {file["path"]: (len(file["runs"]), file["mappings"]) for file in mapped["files"]}
    assert sorted(files.values()) == [(1, 1), (1, 2)]  # one of the files lies over the border


def test_segments_are_read_while_guests_use_them_and_in_the_spool(dcss: Dcss, config: Path) -> None:
    dcss("up", "-d", config)
    _check(dcss)
    dcss("down", dcss.system)
    _check(dcss)


def test_what_a_guest_writes_is_seen_at_once(dcss: Dcss, config: Path) -> None:
    dcss("up", "-d", config)
    assert dcss.json("image", "check", "BOARD", "--system", dcss.system)["clean"]
    dcss("exec", "G", "--", "sh", "-c", "head -c 8192 /dev/dcssblk1 > /dev/dcssblk0")
    damaged = dcss("image", "check", "BOARD", "--system", dcss.system, status=1)
    assert "BOARD: damaged" in damaged.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("M3", "M3: found no such segment in system {system}, which has M1, M2, BOARD"),
        ("M1:BOARD", "M1:BOARD: segment BOARD: found it at 0x30000000, wanted it at 0x20100000, where M1 ends"),
        ("", ": found no such segment in system {system}, which has M1, M2, BOARD"),
    ],
)
def test_what_is_no_device_is_named(dcss: Dcss, config: Path, name: str, message: str) -> None:
    dcss("run", config, status=1)  # nothing is mapped
    refused = dcss("image", "ls", name, "--system", dcss.system, status=2)
    assert message.format(system=dcss.system) in refused.stderr


def test_no_offset_goes_with_segments(dcss: Dcss) -> None:
    refused = dcss("image", "ls", "M1", "--system", dcss.system, "--offset", "1M", status=2)
    assert "--offset: found it beside --system" in refused.stderr
