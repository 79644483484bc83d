"""Damage done by debugfs and by single bytes: our checker and e2fsck come to the same verdict."""

import os
import random
from pathlib import Path

import pytest
from image_support import Read, build, e2fsck_findings, run_tool
from needs_support import needs

from dcss.errors import ImageError
from dcss.ext2.fsck.check import check_image
from dcss.ext2.source import BufferSource
from dcss.image.map import map_image

pytestmark = needs("e2fsck", "debugfs", "mke2fs")


def make_tree(root: Path) -> None:
    (root / "dir/inner").mkdir(parents=True)
    (root / "file").write_bytes(b"f" * 9000)
    (root / "big").write_bytes(b"B" * (20 * 4096))
    (root / "hard").hardlink_to(root / "file")
    (root / "link").symlink_to("target")
    (root / "slow").symlink_to("s" * 100)
    (root / "dir/other").write_bytes(b"o" * 9000)
    os.mkfifo(root / "fifo")
    for name in ("file", "big"):
        os.setxattr(root / name, "user.a", b"value")


def make_image(tmp_path: Path, maker: str) -> Path:
    root, image = tmp_path / "tree", tmp_path / "x.img"
    root.mkdir()
    make_tree(root)
    if maker == "ours":
        build(root, image, size_bytes=1 << 20)
    else:
        options = ["-I", "128"] if maker == "mke2fs" else ["-I", "128", "-b", "1024"]
        done = run_tool("mke2fs", "-q", "-t", "ext2", "-b", "4096", *options, "-d", root, image, "1M")
        assert done.returncode == 0, done.stderr
    return image


def verdicts(image: Path) -> tuple[bool, bool]:
    """Return whether e2fsck and our checker find the image damaged."""
    try:
        ours = not check_image(BufferSource(image.read_bytes())).clean
    except ImageError:
        ours = True
    return bool(e2fsck_findings(image)), ours


DAMAGE = {
    "links too many": "sif /file links_count 5",
    "links none": "sif /dir/other links_count 0",
    "no type": "sif /file mode 0",
    "odd type": "sif /file mode 0160000",
    "a file for a directory": "sif /dir mode 0100644",
    "size too small": "sif /big size 10",
    "directory longer than its blocks": "sif /dir size 8192",
    "directory of half a block": "sif /dir size 2048",
    "i_blocks": "sif /file blocks 1",
    "i_dtime": "sif /file dtime 12345",
    "block past the end": "sif /file block[0] 99999",
    "block in the inode table": "sif /file block[0] 4",
    "indirect block past the end": "sif /big block[IND] 99999",
    "indirect block is data": "sif /big block[DIND] 40",
    "inode cleared": "clri /file",
    "directory cleared": "clri /dir",
    "root cleared": "clri /",
    "name without count": "ln /file /second",
    "name taken": "unlink /dir/other",
    "directory taken": "unlink /dir",
    "block marked free": "freeb 3",
    "block marked used": "setb 250",
    "inode marked free": "freei /file",
    "inode marked used": "seti <90>",
    "free blocks of a group": "set_bg 0 free_blocks_count 3",
    "free inodes of a group": "set_bg 0 free_inodes_count 3",
    "directories of a group": "set_bg 0 used_dirs_count 1",
    "free blocks in all": "ssv free_blocks_count 3",
    "free inodes in all": "ssv free_inodes_count 3",
    "block bitmap outside": "set_bg 0 block_bitmap 99999",
    "inode table outside": "set_bg 0 inode_table 99999",
    "attributes outside": "sif /file file_acl 99999",
    "attributes in data": "sif /file file_acl 50",
    "nothing of weight": "sif /file mtime 20200101",
    "another owner": "sif /file uid 77",
}


@pytest.mark.parametrize("maker", ["ours", "mke2fs", "mke2fs 1k"])
def test_the_verdict_is_e2fscks(tmp_path: Path, maker: str) -> None:
    image = make_image(tmp_path, maker)
    assert verdicts(image) == (False, False)
    pristine = image.read_bytes()
    damaged = 0
    for name, command in DAMAGE.items():
        image.write_bytes(pristine)
        done = run_tool("debugfs", "-w", "-R", command, image)
        assert "Usage" not in done.stderr, (name, done.stderr)
        theirs, ours = verdicts(image)
        assert ours == theirs, name
        damaged += theirs
    assert damaged == len(DAMAGE) - 2


@pytest.mark.parametrize("maker", ["ours", "mke2fs"])
def test_two_files_that_share_a_block(tmp_path: Path, maker: str) -> None:
    image = make_image(tmp_path, maker)
    block = Read(image).inodes[b"/file"].block_pointers[1]
    run_tool("debugfs", "-w", "-R", f"sif /dir/other block[1] {block}", image)
    assert verdicts(image) == (True, True)
    said = [
        problem.detail for problem in check_image(BufferSource(image.read_bytes())).problems if problem.kind == "blocks"
    ]
    assert len(said) == 1
    assert "wanted one owner" in said[0]


def flips(tmp_path: Path, seed: int, count: int) -> list[tuple[int, int, bool, bool]]:
    """Change single bytes of metadata and return those of which the two differ."""
    image = make_image(tmp_path, "ours")
    pristine = image.read_bytes()
    rng = random.Random(seed)
    places = [
        at
        for stretch in map_image(BufferSource(pristine), image).stretches
        if stretch.content == "metadata"
        for at in range(stretch.first_byte, stretch.first_byte + stretch.size_bytes)
        if pristine[at] or at % 4096 < 200
    ]
    differ = []
    for _ in range(count):
        changed = bytearray(pristine)
        at = rng.choice(places)
        changed[at] ^= rng.choice([1, 0x80, 0xFF, rng.randrange(1, 256)])
        image.write_bytes(changed)
        theirs, ours = verdicts(image)
        if theirs != ours:
            differ.append((at, changed[at], theirs, ours))
    return differ


def test_single_bytes_of_metadata(tmp_path: Path) -> None:
    assert flips(tmp_path, 1, 150) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_very_many_single_bytes_of_metadata(tmp_path: Path, seed: int) -> None:
    # A handful is a matter of taste: superblock fields that e2fsck refuses and the kernel's ext2 ignores.
    assert len(flips(tmp_path, seed, 2000)) <= 4
