"""Block maps of any shape: runs and get_block against pointers that were followed one by one."""

from collections.abc import Iterator

from ext2_support import TinyImage
from hypothesis import given
from hypothesis import strategies as st

from dcss.ext2.inode import Inode
from dcss.ext2.volume import Volume

PER_BLOCK = 256
BLOCKS = 4096
DATA = 3000  # blocks from here on are data, those before hold pointers
DOUBLE = 12 + PER_BLOCK
TRIPLE = DOUBLE + PER_BLOCK**2
MOST = TRIPLE + PER_BLOCK**3

# Where stretches of a file start: anywhere, but often around the borders of the levels.
starts = st.one_of(
    st.integers(0, 600),
    st.sampled_from(
        (10, 11, 12, DOUBLE - 2, DOUBLE, DOUBLE + 255, TRIPLE - 3, TRIPLE, TRIPLE + PER_BLOCK**2 - 1, MOST - 9)
    ),
    st.integers(0, MOST - 1),
)
# Start in the file, start on the device, length, step between blocks on the device.
stretches = st.lists(
    st.tuples(starts, st.integers(DATA, BLOCKS - 1), st.integers(1, 300), st.sampled_from((1, 1, 1, 0, 2))), max_size=6
)


def spread(pieces: list[tuple[int, int, int, int]]) -> dict[int, int]:
    """Return block of the file -> block of the device; later stretches win."""
    blocks = {}
    for start, disk, length, step in pieces:
        for i in range(length):
            if start + i < MOST and disk + i * step < BLOCKS:
                blocks[start + i] = disk + i * step
    return blocks


def image_of(blocks: dict[int, int], size_blocks: int) -> TinyImage:
    """Write the pointers one by one, with indirect blocks made where one is missed."""
    image = TinyImage(blocks=BLOCKS)
    direct = [blocks.get(i, 0) for i in range(12)]
    roots = [0, 0, 0]

    def below(block: int, index: int) -> int:
        at = block * 1024 + index * 4
        found = int.from_bytes(image.data[at : at + 4], "little")
        if not found:
            found = image.allocate()
            image.pointers(block, {index: found})
        return found

    for file_block, disk in blocks.items():
        rest = file_block - 12
        if rest < 0:
            continue
        depth = 0
        while rest >= PER_BLOCK ** (depth + 1):
            rest -= PER_BLOCK ** (depth + 1)
            depth += 1
        roots[depth] = block = roots[depth] or image.allocate()
        for level in range(depth, 0, -1):
            index, rest = divmod(rest, PER_BLOCK**level)
            block = below(block, index)
        image.pointers(block, {rest: disk})
    assert image._free < DATA
    size = size_blocks * 1024
    image.inode(
        12, pointers=(*direct, *roots), i_mode=0o100644, i_links_count=1, i_size=size & 0xFFFFFFFF, i_dir_acl=size >> 32
    )
    return image


def read(volume: Volume, inode: Inode, first: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield the blocks that runs report, and check the runs themselves."""
    at, before = first, None
    for run in volume.runs(inode, first, count):
        assert run.file_block == at
        assert run.blocks > 0
        if before is not None:  # as long as can be: the next run does not go on where this one ends
            assert run.disk_block != (before.disk_block + before.blocks if before.disk_block else 0)
        before = run
        if run.disk_block:
            yield from ((at + i, run.disk_block + i) for i in range(run.blocks))
        at += run.blocks
    assert at == first + count


@given(stretches, st.integers(0, 5))
def test_runs_are_the_pointers(pieces: list[tuple[int, int, int, int]], past: int) -> None:
    blocks = spread(pieces)
    size_blocks = min(max(blocks, default=0) + past, MOST)
    volume = image_of(blocks, size_blocks).volume()
    inode = volume.inode(12)
    assert dict(read(volume, inode, 0, size_blocks)) == {at: disk for at, disk in blocks.items() if at < size_blocks}
    for at in [*list(blocks)[:20], *list(blocks)[-20:], 0, size_blocks]:
        if at < MOST:
            assert volume.get_block(inode, at) == blocks.get(at, 0)


@given(stretches, st.lists(st.tuples(starts, st.integers(0, 400)), min_size=1, max_size=4))
def test_any_part_is_the_same_part(pieces: list[tuple[int, int, int, int]], parts: list[tuple[int, int]]) -> None:
    blocks = spread(pieces)
    volume = image_of(blocks, 1).volume()
    inode = volume.inode(12)
    for first, wanted in parts:
        count = min(wanted, MOST - first)
        found = dict(read(volume, inode, first, count))
        assert found == {at: disk for at, disk in blocks.items() if first <= at < first + count}
