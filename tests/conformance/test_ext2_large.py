"""Large things in little room: terabyte images, sparse files past 2 GiB and past double indirection."""

from itertools import pairwise
from pathlib import Path

import pytest
from ext2_support import CountingSource, debugfs, e2fs, make_image, map_image
from needs_support import needs

from dcss.ext2.volume import Volume

pytestmark = needs("mke2fs", "debugfs")

GIB = 1 << 30


def sparse(path: Path, pieces: dict[int, bytes], size: int) -> Path:
    with path.open("wb") as file:
        for at, piece in pieces.items():
            file.seek(at)
            file.write(piece)
        file.truncate(size)
    return path


def terabytes(path: Path, size: str, tree: Path | None = None) -> Path:
    """A sparse image with few inodes, so that most of it stays a hole."""
    options = ("-b", "4096", "-i", "67108864", "-E", "nodiscard,lazy_itable_init=1", "-O", "^resize_inode")
    return make_image(path, size, *options, tree=tree)


@pytest.mark.parametrize(
    ("block_size", "positions"),
    [
        # The last block of each level and the first of the next, and far into triple indirection.
        (1024, [11, 12, 267, 268, 65803, 65804, 65805, 3_000_000]),
        (2048, [11, 12, 523, 524, 262667, 262668, 1_500_000]),
        (4096, [11, 12, 1035, 1036, 1049611, 1049612, 3_000_000]),
    ],
)
def test_blocks_at_the_borders_of_every_level(tmp_path: Path, block_size: int, positions: list[int]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    pieces = {at * block_size: b"block %d" % at for at in positions}
    size = (positions[-1] + 9) * block_size + 17
    sparse(tree / "file", pieces, size)
    image = make_image(tmp_path / "image", "16M", "-b", str(block_size), tree=tree)
    source = map_image(image)
    volume = Volume.mount(source)
    inode = volume.resolve(b"/file")
    assert inode.size_bytes == size > 2 * GIB
    runs = list(volume.runs(inode))
    data = {run.file_block + i: run.disk_block + i for run in runs if run.disk_block for i in range(run.blocks)}
    assert set(data) == set(positions)
    for at, block in data.items():
        assert source.bytes_at(block * block_size, block_size).tobytes().rstrip(b"\0") == b"block %d" % at
        assert volume.get_block(inode, at) == block
        assert volume.get_block(inode, at + 100) in {0, data.get(at + 100)}
        assert int(debugfs(image, f"bmap /file {at}").split()[0]) == block
    assert sum(run.blocks for run in runs) == positions[-1] + 10
    assert all(one.disk_block or two.disk_block for one, two in pairwise(runs))


def test_a_file_of_terabytes_without_a_block_is_one_hole(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    size = 4 * 1024 * GIB - 4096 * 4096
    sparse(tree / "file", {}, 0)
    image = make_image(tmp_path / "image", "4M", "-b", "4096", tree=tree)
    debugfs(image, f"set_inode_field /file size {size}", f"set_inode_field /file size_high {size >> 32}", write=True)
    volume = Volume.mount(map_image(image))
    inode = volume.resolve(b"/file")
    assert list(volume.runs(inode)) == [(0, 0, size // 4096)]


@pytest.mark.parametrize(("size", "groups"), [("1T", 8192), ("4T", 32768)])
def test_a_terabyte_image_mounts_fast_and_reads_only_its_descriptors(tmp_path: Path, size: str, groups: int) -> None:
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    (tree / "dir" / "file").write_bytes(b"x" * 100_000)
    image = terabytes(tmp_path / "image", size, tree)
    source = CountingSource(map_image(image).bytes_at(0, image.stat().st_size))
    volume = Volume.mount(source)
    assert source.reads == [(1024, 1024), (4096, groups * 32)]
    assert volume.group_count == groups
    assert volume.resolve(b"/dir/file").size_bytes == 100_000
    assert len(list(volume.walk())) == 4


def test_inodes_in_the_last_group_of_a_terabyte(tmp_path: Path) -> None:
    image = terabytes(tmp_path / "image", "1T")
    inodes = int(e2fs("dumpe2fs", "-h", image).decode().partition("Inode count:")[2].split()[0])
    debugfs(image, f"set_inode_field <{inodes}> mode 0100640", f"set_inode_field <{inodes}> links_count 1", write=True)
    debugfs(image, f"link <{inodes}> /last", write=True)
    volume = Volume.mount(map_image(image))
    inode = volume.resolve(b"/last")
    assert (inode.number, inode.mode) == (inodes, 0o100640)
    assert volume.group(volume.group_count - 1).bg_inode_table > (1 << 40) // 4096 - 32768
