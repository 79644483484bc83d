import gc
import sys
import tracemalloc
from collections.abc import Callable
from errno import EINVAL, EIO
from stat import S_IFCHR, S_IFLNK, S_IFREG
from types import FrameType
from typing import Any

import pytest
from ext2_support import CountingSource, TinyImage

from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.indirect import BlockRun
from dcss.ext2.volume import Volume

PER_BLOCK = 256  # pointers in a block of 1 KiB
SINGLE = 12
DOUBLE = SINGLE + PER_BLOCK
TRIPLE = DOUBLE + PER_BLOCK**2
MOST = TRIPLE + PER_BLOCK**3
MODE = S_IFREG | 0o644
GROUP_BLOCKS = 8192
LARGE_BLOCKS = 9 * GROUP_BLOCKS
DEEP = (1 << 16) + 300  # a block whose pointer needs more than 16 bits
TraceFunction = Callable[[FrameType, str, object], Any]


def image_with(pointers: dict[int, int], blocks: int = MOST, **fields: int) -> TinyImage:
    image = TinyImage(blocks=1024)
    i_block = tuple(pointers.get(i, 0) for i in range(15))
    size = blocks * 1024
    sizes = {"i_size": size & 0xFFFFFFFF, "i_dir_acl": size >> 32}
    image.inode(12, pointers=i_block, **{"i_mode": MODE, "i_links_count": 1, **sizes, **fields})
    return image


def large_image(pointers: list[int]) -> TinyImage:
    """Return an image with blocks beyond 65536, of a file with these pointers in its first indirect block."""
    image = TinyImage(blocks=LARGE_BLOCKS)
    for group in range(1, -(-LARGE_BLOCKS // GROUP_BLOCKS)):
        first = group * GROUP_BLOCKS + 1
        image.desc(group, bg_block_bitmap=first, bg_inode_bitmap=first + 1, bg_inode_table=first + 2)
    size = DOUBLE * 1024
    image.inode(12, pointers=(*[0] * 12, 150), i_mode=MODE, i_links_count=1, i_size=size)
    image.pointers(150, dict(enumerate(pointers)))
    return image


def runs(image: TinyImage, *part: int | None) -> list[BlockRun]:
    volume = image.volume()
    return list(volume.runs(volume.inode(12), *part))  # type: ignore[arg-type]


def test_contiguous_blocks_are_one_run_up_to_the_size() -> None:
    image = image_with({i: 100 + i for i in range(12)}, blocks=5)
    assert runs(image) == [(0, 100, 5)]
    assert runs(image, 2) == [(2, 102, 3)]
    assert runs(image, 3, 9) == [(3, 103, 9)]
    assert runs(image, 0, 0) == []


def test_part_of_a_block_counts_and_an_empty_file_has_no_runs() -> None:
    assert runs(image_with({0: 100, 1: 101}, blocks=0, i_size=1025)) == [(0, 100, 2)]
    assert runs(image_with({0: 100}, blocks=0)) == []


def test_runs_and_holes_among_direct_blocks() -> None:
    image = image_with({1: 200, 2: 201, 3: 300, 6: 302, 7: 301, 8: 302}, blocks=12)
    assert runs(image) == [(0, 0, 1), (1, 200, 2), (3, 300, 1), (4, 0, 2), (6, 302, 1), (7, 301, 2), (9, 0, 3)]


def test_a_run_goes_on_across_indirect_blocks() -> None:
    image = image_with({**{i: 200 + i for i in range(12)}, 12: 150, 13: 151}, blocks=DOUBLE + 2 * PER_BLOCK)
    image.pointers(150, {i: 212 + i for i in range(PER_BLOCK)})
    image.pointers(151, {0: 152, 1: 153})
    image.pointers(152, {i: 212 + PER_BLOCK + i for i in range(PER_BLOCK)})
    image.pointers(153, {i: 100 + i for i in range(PER_BLOCK)})
    assert runs(image) == [(0, 200, 12 + 2 * PER_BLOCK), (DOUBLE + PER_BLOCK, 100, PER_BLOCK)]


def test_each_level_and_the_very_last_block() -> None:
    image = image_with({12: 150, 13: 160, 14: 170})
    image.pointers(150, {0: 500, 255: 501})
    image.pointers(160, {0: 161, 255: 162})
    image.pointers(161, {0: 510})
    image.pointers(162, {255: 511})
    image.pointers(170, {255: 171})
    image.pointers(171, {255: 172})
    image.pointers(172, {255: 520})
    assert runs(image) == [
        (0, 0, SINGLE),
        (SINGLE, 500, 1),
        (SINGLE + 1, 0, 254),
        (DOUBLE - 1, 501, 1),
        (DOUBLE, 510, 1),
        (DOUBLE + 1, 0, PER_BLOCK**2 - 2),
        (TRIPLE - 1, 511, 1),
        (TRIPLE, 0, PER_BLOCK**3 - 1),
        (MOST - 1, 520, 1),
    ]
    volume = image.volume()
    inode = volume.inode(12)
    assert [volume.get_block(inode, at) for at in (0, SINGLE, DOUBLE - 1, DOUBLE, TRIPLE - 1, TRIPLE, MOST - 1)] == [
        0, 500, 501, 510, 511, 0, 520
    ]  # fmt: skip
    assert volume.max_file_blocks == MOST
    assert list(volume.indirect_blocks(inode)) == [150, 160, 161, 162, 170, 171, 172]


def test_every_part_is_a_part_of_the_whole() -> None:
    image = image_with({3: 300, 12: 150, 13: 160}, blocks=DOUBLE + 600)
    image.pointers(150, {i: 400 + i for i in range(100, 200)})
    image.pointers(160, {1: 161})
    image.pointers(161, {i: 600 + i // 3 * 3 for i in range(PER_BLOCK)})
    volume = image.volume()
    inode = volume.inode(12)
    whole = {
        run.file_block + i: run.disk_block and run.disk_block + i
        for run in volume.runs(inode)
        for i in range(run.blocks)
    }
    assert sorted(whole) == list(range(DOUBLE + 600))
    assert whole == {block: volume.get_block(inode, block) for block in whole}
    for first, count in (
        (0, 1),
        (11, 3),
        (50, 100),
        (111, 2),
        (DOUBLE - 1, 260),
        (DOUBLE + 256, 256),
        (DOUBLE + 500, 100),
    ):
        part = list(volume.runs(inode, first, count))
        assert [block for run in part for block in range(run.file_block, run.file_block + run.blocks)] == list(
            range(first, first + count)
        )
        for run in part:
            assert [run.disk_block and run.disk_block + i for i in range(run.blocks)] == [
                whole[run.file_block + i] for i in range(run.blocks)
            ]


def test_a_hole_costs_one_step_per_missing_indirect_block() -> None:
    image = image_with({14: 170})
    image.pointers(170, {200: 171})
    source = CountingSource(image.data)
    volume = Volume.mount(source)
    inode = volume.inode(12)
    source.reads.clear()
    assert list(volume.runs(inode)) == [(0, 0, MOST)]
    assert source.reads == [(170 * 1024, 1024), (171 * 1024, 1024)]


@pytest.mark.parametrize("wrong_bits", [1, 1 << 8, 1 << 16, 1 << 24], ids=hex)
@pytest.mark.parametrize("index", [1, 100, PER_BLOCK - 1])
def test_one_bit_of_one_pointer_ends_a_run(index: int, wrong_bits: int) -> None:
    pointers = [DEEP + i for i in range(PER_BLOCK)]
    pointers[index] ^= wrong_bits
    image = large_image(pointers)
    if pointers[index] >= LARGE_BLOCKS:
        with pytest.raises(Ext2FormatError, match=f"pointer {index}: found block"):
            runs(image, SINGLE)
        return
    before, *rest = runs(image, SINGLE)
    assert before == (SINGLE, DEEP, index)
    assert rest[0] == (SINGLE + index, pointers[index], 1)
    assert sum(run.blocks for run in rest) == PER_BLOCK - index


def test_a_run_goes_on_where_the_lower_half_of_its_pointers_wraps_around() -> None:
    first = (1 << 16) - 5
    assert runs(large_image([first + i for i in range(PER_BLOCK)]), SINGLE) == [(SINGLE, first, PER_BLOCK)]
    image = large_image([(first + i) % (1 << 16) for i in range(PER_BLOCK)])
    assert runs(image, SINGLE) == [(SINGLE, first, 5), (SINGLE + 5, 0, 1), (SINGLE + 6, 1, PER_BLOCK - 6)]


def test_a_long_stretch_of_pointers_takes_no_more_steps_than_a_short_one() -> None:
    image = large_image([DEEP + i for i in range(PER_BLOCK)])
    volume = image.volume()
    inode = volume.inode(12)

    def steps(blocks: int) -> int:
        lines = 0

        def count(_frame: FrameType, event: str, _argument: object) -> TraceFunction:
            nonlocal lines
            lines += event == "line"
            return count

        before = sys.gettrace()
        gc.disable()  # what it ends meanwhile may run lines, too
        sys.settrace(count)
        try:
            assert list(volume.runs(inode, SINGLE, blocks)) == [(SINGLE, DEEP, blocks)]
        finally:
            sys.settrace(before)
            gc.enable()
        return lines

    steps(2)  # fills caches
    assert steps(PER_BLOCK) == steps(2)


def test_memory_does_not_grow_with_the_file() -> None:
    image = image_with({13: 160}, blocks=TRIPLE)
    image.pointers(160, {i: 200 + i for i in range(PER_BLOCK)})
    for i in range(PER_BLOCK):
        image.pointers(200 + i, {j: 500 + (i * 7 + j) % 500 for j in range(PER_BLOCK)})
    volume = image.volume()
    inode = volume.inode(12)
    tracemalloc.start()
    blocks = sum(run.blocks for run in volume.runs(inode))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert blocks == TRIPLE
    assert peak_bytes < 64 << 10


@pytest.mark.parametrize("bad", [0xFFFFFFFF, 0x80000000, 1024])
@pytest.mark.parametrize("level", range(4))
def test_a_pointer_off_the_device_at_any_level(bad: int, level: int) -> None:
    image = TinyImage(blocks=1024)
    for block in range(150, 150 + level):
        image.pointers(block, {0: block + 1})
    if level:
        image.pointers(149 + level, {0: bad})
    root = 150 if level else bad
    i_block = (root,) if level == 0 else (*[0] * (11 + level), root)
    image.inode(12, pointers=i_block, i_mode=MODE, i_links_count=1, i_size=(TRIPLE + 1) * 1024)
    at = (0, SINGLE, DOUBLE, TRIPLE)[level]
    volume = image.volume()
    inode = volume.inode(12)
    with pytest.raises(Ext2FormatError, match=rf"inode 12: .*: found block {bad}, wanted 1\.\.1023"):
        list(volume.runs(inode))
    with pytest.raises(Ext2FormatError, match=rf"inode 12: .*: found block {bad}, wanted 1\.\.1023"):
        volume.get_block(inode, at)


def test_a_run_that_leaves_the_device_and_one_that_just_does_not() -> None:
    assert runs(image_with({0: 1022, 1: 1023}, blocks=2)) == [(0, 1022, 2)]
    with pytest.raises(Ext2FormatError, match=r"i_block\[0\]: found blocks 1022\.\.1024, wanted 1\.\.1023"):
        runs(image_with({0: 1022, 1: 1023, 2: 1024}, blocks=3))


def test_a_device_cut_short_bounds_pointers_too() -> None:
    image = image_with({0: 900}, blocks=1)
    del image.data[500 * 1024 :]
    with pytest.raises(Ext2FormatError, match=r"found block 900, wanted 1\.\.499"):
        runs(image)


def test_pointers_at_the_end_of_32_bits() -> None:
    image = TinyImage(blocks=1024)
    image.superblock(s_blocks_count=0xFFFFFFFF, s_blocks_per_group=8192)
    image.pointers(150, {0: 0xFFFFFFFE, 1: 0xFFFFFFFF, 2: 0, 3: 1})
    with pytest.raises(KernelError):  # half a million groups, whose descriptors this device does not hold
        image.volume()
    image.superblock(s_blocks_count=1024)
    image.inode(12, pointers=(*[0] * 12, 150), i_mode=MODE, i_links_count=1, i_size=16 * 1024)
    with pytest.raises(Ext2FormatError, match=r"found block 4294967294, wanted"):
        runs(image)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_an_indirect_block_that_points_to_itself_ends(depth: int) -> None:
    image = image_with({11 + depth: 150}, blocks=MOST)
    image.pointers(150, dict.fromkeys(range(PER_BLOCK), 150))
    volume = image.volume()
    inode = volume.inode(12)
    if depth == 1:  # data may well lie where the pointers lie, as far as a reader can see
        assert len(list(volume.runs(inode))) == PER_BLOCK + 2
        return
    for read in (volume.runs, volume.indirect_blocks):
        with pytest.raises(Ext2FormatError, match="indirect block: found block 150 twice, wanted each block once"):
            list(read(inode))


def test_one_indirect_block_in_two_places() -> None:
    image = image_with({12: 150, 13: 151}, blocks=MOST)
    image.pointers(151, {3: 150})
    with pytest.raises(Ext2FormatError, match="block 150 twice"):
        runs(image)


@pytest.mark.parametrize(("flag", "name"), [(0x80000, "EXTENTS"), (0x10000000, "INLINE_DATA")])
def test_a_block_map_of_another_kind_is_an_error_not_garbage(flag: int, name: str) -> None:
    volume = image_with({0: 100}, blocks=1, i_flags=flag).volume()
    inode = volume.inode(12)
    for read in (lambda: list(volume.runs(inode)), lambda: volume.get_block(inode, 0)):
        with pytest.raises(Ext2FormatError, match=f"inode 12: i_flags: found {name}"):
            read()


@pytest.mark.parametrize("mode", [S_IFCHR, S_IFLNK])
def test_what_has_no_blocks(mode: int) -> None:
    volume = image_with({0: 100}, i_mode=mode, i_size=4).volume()
    inode = volume.inode(12)
    for read in (
        lambda: list(volume.runs(inode)),
        lambda: volume.get_block(inode, 0),
        lambda: list(volume.indirect_blocks(inode)),
    ):
        with pytest.raises(KernelError) as caught:
            read()
        assert caught.value.errno == EINVAL


def test_past_what_pointers_map() -> None:
    volume = image_with({0: 100}).volume()
    inode = volume.inode(12)
    for read in (
        lambda: volume.get_block(inode, MOST),
        lambda: volume.get_block(inode, -1),
        lambda: list(volume.runs(inode, 0, MOST + 1)),
        lambda: list(volume.runs(inode, -1, 1)),
    ):
        with pytest.raises(KernelError) as caught:
            read()
        assert caught.value.errno == EIO
    with pytest.raises(Ext2FormatError, match=f"i_size: found .* wanted at most {MOST * 1024} bytes"):
        runs(image_with({0: 100}, blocks=MOST + 1))
