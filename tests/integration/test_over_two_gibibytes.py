"""A file system of more than 2 GiB, which one segment cannot hold, over two segments, with a file on their border."""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Dcss
from ext2_support import debugfs, e2fs, make_image
from needs_support import needs

from dcss.abi.extmem import MAX_DCSS_BYTES
from dcss.abi.page import PAGE_SIZE

MIB = 1 << 20
SIZE_BYTES = MAX_DCSS_BYTES + 65 * MIB
BORDER_BLOCK = MAX_DCSS_BYTES // PAGE_SIZE
CONTENT = b"".join(number.to_bytes(8, "little") for number in range(MIB))

pytestmark = [pytest.mark.slow, needs("frames", "large_memory", "mke2fs", "debugfs", "dumpe2fs", "e2fsck")]


def _free_blocks(image: Path) -> Iterator[tuple[int, int]]:
    """Yield the first block of each run of free blocks, and the one behind it."""
    for line in e2fs("dumpe2fs", image).decode().splitlines():
        runs = re.fullmatch(r"\s+Free blocks: (\d.*)", line)
        for first, _, last in (run.strip().partition("-") for run in runs[1].split(",")) if runs else ():
            yield int(first), int(last or first) + 1


@pytest.fixture
def image(dcss: Dcss) -> Path:
    """A sparse image of 2112 MiB, in which a file of 8 MiB begins 2 MiB before the first segment ends."""
    image = make_image(dcss.home / "large.img", f"{SIZE_BYTES >> 10}k", "-b", "4096")
    (dcss.home / "both").write_bytes(CONTENT)
    before = BORDER_BLOCK - 2 * MIB // PAGE_SIZE
    taken = [(first, min(end, before) - first) for first, end in _free_blocks(image) if first < before]
    debugfs(
        image,
        *(f"setb {first} {blocks}" for first, blocks in taken),
        f"write {dcss.home / 'both'} both",
        *(f"freeb {first} {blocks}" for first, blocks in taken),
        write=True,
    )
    e2fs("e2fsck", "-fn", image)
    blocks = [int(block) for block in debugfs(image, "blocks both").split()]
    assert min(blocks) < BORDER_BLOCK < max(blocks)
    os.chmod(image, 0o644)  # noqa: PTH101
    return image


def test_two_segments_hold_what_one_cannot(dcss: Dcss, image: Path) -> None:
    alone = dcss.config("name: G", segment="  - {name: BIG, at: 0x20000000, image: {ext2: large.img}}", path="one.yaml")
    refused = dcss("run", alone, status=2).stderr
    assert f"spans {SIZE_BYTES} bytes, wanted at most {MAX_DCSS_BYTES}" in refused
    assert "let another segment go on: image: {continues: BIG}" in refused
    segments = (
        "  - {name: BIG1, at: 0x20000000, size: 2047M, image: {ext2: large.img}}\n"
        "  - {name: BIG2, image: {continues: BIG1}}"
    )
    mounts = "mounts: [{device: dcssblk0, at: /mnt, options: [ro, xip]}]"
    config = dcss.config(f"name: G, count: 2, {mounts}, run: [{{map: /mnt/both}}]", segment=segments)
    dcss("up", "-d", config, timeout_seconds=300)
    verified = dcss.json("verify", dcss.system)
    assert verified["verdict"] == "verified"
    (file,) = verified["files"]
    pages = len(CONTENT) // PAGE_SIZE
    assert (file["segment"], file["path"], file["pages"]) == ("BIG1:BIG2", "/both", pages)
    assert file["checked_pages"] == pages
    assert file["distinct_frames"] == (pages if verified["evidence"] == "frames" else None)
    measured = dcss.json("measure", dcss.system)
    assert [segment["bytes"] for segment in measured["segments"]] == [MAX_DCSS_BYTES, SIZE_BYTES - MAX_DCSS_BYTES]
    assert [guest["guest"]["xip_bytes"] for guest in measured["guests"]] == [len(CONTENT)] * 2
    read = dcss("exec", "G01", "--", "sha256sum", "/mnt/both").stdout.split()[0]
    assert read == hashlib.sha256(CONTENT).hexdigest()
    exported = dcss.home / "exported.img"
    dcss("segment", "export", "BIG1:BIG2", exported, "--system", dcss.system, timeout_seconds=300)
    e2fs("e2fsck", "-fn", exported)
    subprocess.run(["cmp", image, exported], check=True)
    assert exported.stat().st_blocks * 512 < 256 * MIB  # holes stay holes
