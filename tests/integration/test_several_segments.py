"""One file system over segments that adjoin: verdict, accounts and files treat them as one device."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_support import Dcss
from needs_support import needs

from dcss.abi.page import PAGE_SIZE

MIB = 1 << 20
_HALVES = ("0x20000000", "0x20100000")


def _import_halves(dcss: Dcss, image: Path) -> None:
    content = image.read_bytes()
    assert len(content) == 2 * MIB
    for number, address in enumerate(_HALVES, 1):
        part = dcss.home / f"part{number}"
        part.write_bytes(content[(number - 1) * MIB : number * MIB])
        dcss(
            "segment", "import", part, "--name", f"M{number}", "--at", address, "--type", "SR", "--system", dcss.system
        )


def _tree(dcss: Dcss) -> Path:
    """Build an image of 2 MiB with a file that lies in both of its halves: either of two."""
    tree = dcss.home / "split"
    tree.mkdir()
    for number in range(2):  # too short to be aligned for huge pages
        (tree / f"large{number}").write_bytes(bytes((number, *range(1, 256))) * (200 * 16))
    (tree / "small").write_bytes(b"small" * 2000)
    image = dcss.home / "whole.img"
    dcss("image", "build", tree, "-o", image, "--size", "2M")
    return image


def _plan(dcss: Dcss, *guests: str) -> Path:
    return dcss.config(*guests, segment="  - {name: M1}\n  - {name: M2}")


def _pages(verify: dict[str, Any]) -> dict[str, int]:
    pages: dict[str, int] = {}
    for file in verify["files"]:
        assert file["shared"], file
        assert file["checked_pages"] == file["pages"]
        assert file["path"] not in pages, "listed once"
        pages[file["path"]] = file["pages"]
    return pages


@needs("frames")
@pytest.mark.parametrize("device", ["M1:M2", "M2:M1"])
def test_a_file_in_two_segments_is_one_file(dcss: Dcss, device: str) -> None:
    _import_halves(dcss, _tree(dcss))
    mounts = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"
    ran = dcss.json("run", _plan(dcss, f'name: G, count: 2, dcssblk: ["{device}"], {mounts}, run: [{{map: "/*"}}]'))
    assert ran["verify"]["verdict"] == "verified"
    pages = _pages(ran["verify"])
    assert pages == {"/large0": 200, "/large1": 200, "/small": 3}
    assert "M1:M2" in {file["segment"] for file in ran["verify"]["files"]}
    assert "403 pages of 3 files, mapped by 2 guests" in ran["verify"]["claims"][0]["detail"]
    assert [guest["guest"]["xip_bytes"] for guest in ran["measure"]["guests"]] == [403 * PAGE_SIZE] * 2


@needs("frames")
def test_a_half_alone_is_no_reason_to_lose_the_report(dcss: Dcss) -> None:
    _import_halves(dcss, _tree(dcss))
    path = dcss.config("name: G, dcssblk: [M1]", segment="  - {name: M1}")
    ran = dcss.json("run", path, status=1)  # nothing is mapped
    assert any("segment M1: /" in limit for limit in ran["verify"]["limits"])


@needs("frames", "debugfs")
def test_a_damaged_file_that_nobody_maps_leaves_the_verdict(dcss: Dcss) -> None:
    image = _tree(dcss)
    subprocess.run(["debugfs", "-w", "-R", "set_inode_field /small block[0] 999999999", image], check=True)
    segment = "  - {name: LIB, at: 0x20000000, image: {ext2: whole.img}}"
    mounts = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"
    ran = dcss.json("run", dcss.config(f'name: G, count: 2, {mounts}, run: [{{map: "/large0"}}]', segment=segment))
    assert ran["verify"]["verdict"] == "verified"
    assert _pages(ran["verify"]) == {"/large0": 200}
    # Beside what this user may not see.
    assert any(limit.startswith("segment LIB: /small: ") for limit in ran["verify"]["limits"])
