import struct
from collections.abc import Sequence
from itertools import count

import pytest

from dcss.errors import ImageError
from dcss.ext2.indirect import BlockRun
from dcss.ext2.mkfs.blockmap import MAX_FILE_BYTES, BlockMap, check_file_size, count_indirect_blocks
from dcss.ext2.mkfs.layout import BlockExtent

P = 1024


def mapped(runs: Sequence[BlockRun], wanted: Sequence[int]) -> tuple[BlockMap, dict[int, int]]:
    """Return the map and what a kernel reading it finds at the wanted file blocks."""
    numbers = count(1_000_000)
    block_map = BlockMap(runs, lambda: next(numbers))
    blocks = {place: struct.unpack(f"<{P}I", content) for place, content in block_map.blocks()}
    assert len(blocks) == block_map.indirect_blocks
    assert next(numbers) == 1_000_000 + block_map.indirect_blocks
    return block_map, {block: look_up(block_map.pointers, blocks, block) for block in wanted}


def look_up(pointers: Sequence[int], blocks: dict[int, tuple[int, ...]], block: int) -> int:
    if block < 12:
        return pointers[block]
    block -= 12
    for depth in (1, 2, 3):
        if block < P**depth:
            place = pointers[11 + depth]
            for level in range(depth - 1, -1, -1):
                if not place:
                    return 0
                place = blocks[place][block // P**level % P]
            return place
        block -= P**depth
    raise AssertionError


EDGES = [0, 11, 12, 11 + P, 12 + P, 11 + P + P * P, 12 + P + P * P, 12 + P + P * P + P * P + 7]


def test_a_contiguous_file_over_three_levels() -> None:
    blocks = 12 + P + P * P + 2 * P + 5
    block_map, found = mapped([BlockRun(0, 50, blocks)], [edge for edge in EDGES if edge < blocks])
    assert found == {edge: 50 + edge for edge in found}
    assert block_map.indirect_blocks == count_indirect_blocks([BlockExtent(0, blocks)]) == 1 + (1 + P) + (1 + 1 + 3)


@pytest.mark.parametrize("edge", EDGES)
def test_one_block_behind_each_edge(edge: int) -> None:
    block_map, found = mapped([BlockRun(edge, 77, 1)], [max(edge - 1, 0), edge, edge + 1])
    assert found[edge] == 77
    assert found[edge + 1] == 0
    assert block_map.indirect_blocks == count_indirect_blocks([BlockExtent(edge, 1)])


def test_runs_of_one_sparse_file_share_their_indirect_blocks() -> None:
    runs = [
        BlockRun(0, 10, 3),
        BlockRun(20, 500, 4),
        BlockRun(30, 90, 1),
        BlockRun(12 + P + 5, 700, 3000),
        BlockRun(2_000_000, 9000, 2),
    ]
    wanted = [0, 2, 3, 20, 23, 24, 30, 31, 12 + P + 4, 12 + P + 5, 12 + P + 3004, 12 + P + 3005, 2_000_001, 2_000_002]
    block_map, found = mapped(runs, wanted)
    assert list(found.values()) == [10, 12, 0, 500, 503, 0, 90, 0, 0, 700, 3699, 0, 9001, 0]
    assert block_map.indirect_blocks == count_indirect_blocks([BlockExtent(run.file_block, run.blocks) for run in runs])


def test_a_file_without_data_has_no_pointers() -> None:
    block_map, _ = mapped([], [])
    assert block_map.pointers == (0,) * 15
    assert count_indirect_blocks([]) == 0


def test_the_longest_file_is_the_kernels() -> None:
    # ext2_max_size(12): i_blocks counts 512-byte sectors in 32 bits, indirect blocks among them.
    assert 2_193_000_000_000 < MAX_FILE_BYTES < 1 << 41
    check_file_size(b"/x", MAX_FILE_BYTES)
    with pytest.raises(ImageError, match=rf"/x: found {MAX_FILE_BYTES + 1} bytes, ext2 maps at most {MAX_FILE_BYTES}"):
        check_file_size(b"/x", MAX_FILE_BYTES + 1)
