"""Inodes and counts written back into images of mke2fs: e2fsck finds nothing, debugfs shows what was written."""

import mmap
import re
from pathlib import Path

import pytest
from ext2_support import debugfs, e2fs, make_image
from needs_support import needs

from dcss.abi.ext2 import SUPERBLOCK_OFFSET
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

pytestmark = needs("mke2fs", "debugfs", "e2fsck")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    for number in range(40):
        (root / "sub" / f"file{number}").write_bytes(b"x" * 700 * number)
    (root / "link").symlink_to("sub/file3")
    (root / "long-link").symlink_to("sub/" * 30)
    return root


@pytest.mark.parametrize("inode_size", ["128", "256"])
@pytest.mark.parametrize("block_size", ["1024", "4096"])
@pytest.mark.parametrize("options", [(), ("-O", "meta_bg,^resize_inode")], ids=["plain", "meta-bg"])
def test_every_inode_changed_and_written_back(
    tmp_path: Path, tree: Path, inode_size: str, block_size: str, options: tuple[str, ...]
) -> None:
    image = make_image(tmp_path / "x.img", "12M", "-b", block_size, "-I", inode_size, *options, tree=tree)
    with image.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        source = BufferSource(mapping, writable=True)
        volume = Volume.mount(source, read_only=False)
        for path, inode in volume.walk():
            inode.uid, inode.gid = 70_000 + inode.number, 80_000 + inode.number
            inode.mtime, inode.generation = 1_000_000_000 + inode.number, inode.number
            if inode.is_regular:
                inode.mode = inode.mode & ~0o7777 | 0o640
            volume.mark_inode_dirty(inode)
            if path == b"/sub/file20":
                number = inode.number
        for group in range(volume.group_count):
            volume.set_group(group, volume.group(group))
        volume.set_superblock(volume.superblock._replace(s_mnt_count=7))
        volume.sync()
        assert not volume.dirty
        source.close()
    e2fs("e2fsck", "-fn", image)
    shown = debugfs(image, "stat /sub/file20", "stat /link", "stats")
    assert re.search(rf"Inode: {number} +Type: regular +Mode: +0640", shown)
    assert re.search(rf"User: +{70_000 + number} +Group: +{80_000 + number} .*Size: 14000", shown)
    assert re.search(rf"Generation: {number}\b", shown)
    assert 'Fast link dest: "sub/file3"' in shown
    assert re.search(r"Mount count: +7", shown)


def test_writing_back_what_was_read_changes_the_time_of_writing_only(tmp_path: Path, tree: Path) -> None:
    image = make_image(tmp_path / "x.img", "12M", tree=tree)
    before = image.read_bytes()
    after = bytearray(before)
    volume = Volume.mount(BufferSource(after, writable=True), read_only=False)
    for _path, inode in volume.walk():
        volume.mark_inode_dirty(inode)
    for group in range(volume.group_count):
        volume.set_group(group, volume.group(group))
    volume.sync()
    wtime = SUPERBLOCK_OFFSET + 48
    after[wtime : wtime + 4] = before[wtime : wtime + 4]
    assert after == before
