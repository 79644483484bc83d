"""Descriptors, bitmaps and superblocks of images of several groups."""

import pytest

from dcss.abi import ext2
from dcss.abi.ext2 import GroupDesc, Superblock
from dcss.ext2.bitmap import load_bitmap
from dcss.ext2.indirect import BlockRun
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES, BLOCKS_PER_GROUP, Geometry
from dcss.ext2.mkfs.groups import Groups, group_metadata
from dcss.ext2.mkfs.layout import Layout

GEOMETRY = Geometry(4, 64)
BLOCKS = 3 * BLOCKS_PER_GROUP + 500
FREE = ((100, 7), (200, 1), (BLOCKS_PER_GROUP + 300, 30), (3 * BLOCKS_PER_GROUP + 10, 3))
LAYOUT = Layout(GEOMETRY, BLOCKS, (), ((BlockRun(0, 8, 1),),), FREE)
LAST_INODE, DIRECTORIES = 100, 60


@pytest.fixture
def groups() -> Groups:
    return Groups(LAYOUT, LAST_INODE, DIRECTORIES)


def descriptors(groups: Groups) -> list[GroupDesc]:
    packed = groups.descriptors()
    assert len(packed) == BLOCK_SIZE_BYTES
    size_bytes = ext2.GROUP_DESC.size
    return [GroupDesc._make(ext2.GROUP_DESC.unpack_from(packed, number * size_bytes)) for number in range(4)]


def test_each_group_has_a_descriptor_of_its_own(groups: Groups) -> None:
    found = descriptors(groups)
    places = [2, BLOCKS_PER_GROUP + 2, 2 * BLOCKS_PER_GROUP, 3 * BLOCKS_PER_GROUP + 2]  # group 2 has no superblock
    assert [group.bg_block_bitmap for group in found] == places
    assert [group.bg_inode_bitmap for group in found] == [place + 1 for place in places]
    assert [group.bg_inode_table for group in found] == [place + 2 for place in places]
    assert [group.bg_free_blocks_count for group in found] == [8, 30, 0, 3]
    assert [group.bg_free_inodes_count for group in found] == [0, 28, 64, 64]
    # The root, and 59 directories from inode 11 on: 54 of these lie in the first group.
    assert [group.bg_used_dirs_count for group in found] == [55, 5, 0, 0]


def test_directories_may_fill_groups_and_end_where_one_does() -> None:
    for directories, used in ((55, [55, 0]), (56, [55, 1]), (119, [55, 64]), (1, [1, 0]), (2, [2, 0])):
        assert [group.bg_used_dirs_count for group in descriptors(Groups(LAYOUT, 128, directories))[:2]] == used


def test_bitmaps_have_free_blocks_and_unused_inodes_clear(groups: Groups) -> None:
    bits = 8 * BLOCK_SIZE_BYTES
    clear = [
        [
            block
            for block, bit in enumerate(reversed(f"{load_bitmap(groups.block_bitmap(group)):0{bits}b}"))
            if bit == "0"
        ]
        for group in range(4)
    ]
    assert clear == [[*range(100, 107), 200], list(range(300, 330)), [], [10, 11, 12]]
    inodes = [load_bitmap(groups.inode_bitmap(group)) for group in range(4)]
    padding = ((1 << bits) - 1) ^ ((1 << 64) - 1)
    assert inodes == [(1 << bits) - 1, padding | (1 << 36) - 1, padding, padding]


def test_superblocks_stand_where_sparse_super_has_them_the_first_one_last(groups: Groups) -> None:
    digest = bytes(range(32))
    found = [
        (offset, Superblock._make(ext2.SUPERBLOCK.unpack(packed))) for offset, packed in groups.superblocks(digest)
    ]
    group_bytes = BLOCKS_PER_GROUP * BLOCK_SIZE_BYTES
    assert [(offset, block.s_block_group_nr) for offset, block in found] == [
        (3 * group_bytes, 3),
        (group_bytes, 1),
        (1024, 0),
    ]
    for _, block in found:
        assert (block.s_blocks_count, block.s_free_blocks_count) == (BLOCKS, 41)
        assert (block.s_inodes_count, block.s_free_inodes_count) == (256, 156)
        assert block.s_uuid == bytes([*range(6), 0x86, 7, 0x88, *range(9, 16)])  # version 8, as RFC 9562 has it
        assert block.s_hash_seed == bytes([*range(16, 22), 0x86, 23, 0x98, *range(25, 32)])


def test_metadata_of_all_groups_stands_at_its_place_in_order(groups: Groups) -> None:
    table = [b"%128d" % number for number in range(1, LAST_INODE + 1)]
    written = list(group_metadata(GEOMETRY, groups, table))
    blocks = [offset // BLOCK_SIZE_BYTES for offset, _ in written]
    assert all(offset % BLOCK_SIZE_BYTES == 0 for offset, _ in written)
    assert blocks == [
        *(1, 2, BLOCKS_PER_GROUP + 1, BLOCKS_PER_GROUP + 2),
        *(2 * BLOCKS_PER_GROUP, 3 * BLOCKS_PER_GROUP + 1, 3 * BLOCKS_PER_GROUP + 2),
    ]
    by_block = dict(zip(blocks, (content for _, content in written), strict=True))
    assert by_block[1] == by_block[BLOCKS_PER_GROUP + 1] == by_block[3 * BLOCKS_PER_GROUP + 1] == groups.descriptors()
    for group, inodes in enumerate((table[:64], table[64:], [], [])):
        content = by_block[GEOMETRY.bitmap_block(group)]
        assert content[:BLOCK_SIZE_BYTES] == groups.block_bitmap(group)
        assert content[BLOCK_SIZE_BYTES : 2 * BLOCK_SIZE_BYTES] == groups.inode_bitmap(group)
        assert content[2 * BLOCK_SIZE_BYTES :] == b"".join(inodes)
