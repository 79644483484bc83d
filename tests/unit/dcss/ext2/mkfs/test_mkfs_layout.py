from itertools import pairwise

import pytest

from dcss.errors import ImageError
from dcss.ext2.groups import is_sparse
from dcss.ext2.indirect import BlockRun
from dcss.ext2.mkfs import layout as layout_module
from dcss.ext2.mkfs.geometry import BLOCKS_PER_GROUP, Geometry, geometry_for
from dcss.ext2.mkfs.layout import HUGE_PAGE_BLOCKS, BlockExtent, Demand, Layout, lay_out

MIB_BLOCKS = 256


def lay(*files: int | tuple[BlockExtent, ...], address: int = 0, limit: int | None = None, meta: int = 5) -> Layout:
    extents = [each if isinstance(each, tuple) else (BlockExtent(0, each),) for each in files]
    return lay_out(Demand(20, meta, extents), address, limit)


def check_sound(layout: Layout) -> None:
    """Every block has exactly one purpose."""
    used = [(first, first + count) for first, count in [*layout.meta, *layout.free]]
    used += [(run.disk_block, run.disk_block + run.blocks) for runs in layout.runs for run in runs]
    geometry = layout.geometry
    for group in range(geometry.groups):
        used.append((group * BLOCKS_PER_GROUP, geometry.first_free_block(group)))
    used.sort()
    assert used[0][0] == 0
    assert used[-1][1] == layout.blocks
    for (_, end), (first, _) in pairwise(used):
        assert end == first


def test_sparse_super_groups() -> None:
    assert [group for group in range(100) if is_sparse(group)] == [0, 1, 3, 5, 7, 9, 25, 27, 49, 81]


def test_geometry_places_metadata_in_its_group() -> None:
    geometry = Geometry(3, 64)
    assert geometry.table_blocks == 2
    assert [geometry.bitmap_block(group) for group in range(3)] == [2, BLOCKS_PER_GROUP + 2, 2 * BLOCKS_PER_GROUP]
    assert geometry.first_free_block(2) == 2 * BLOCKS_PER_GROUP + 4
    ends = [BLOCKS_PER_GROUP, 2 * BLOCKS_PER_GROUP, 3 * BLOCKS_PER_GROUP]
    firsts = [6, BLOCKS_PER_GROUP + 6, 2 * BLOCKS_PER_GROUP + 4]
    assert list(geometry.stretches()) == list(zip(firsts, ends, strict=True))
    ends[2] = 2 * BLOCKS_PER_GROUP + 9
    assert list(geometry.stretches(ends[2])) == list(zip(firsts, ends, strict=True))


def test_geometry_refuses_more_inodes_than_groups_hold() -> None:
    with pytest.raises(ImageError, match="40000 inodes: found room for 32768 in 1 block groups"):
        geometry_for(1, 40000)


def test_small_files_need_no_gap() -> None:
    layout = lay(1, 3, 2)
    check_sound(layout)
    assert not layout.free
    # superblock, descriptors, two bitmaps, one block of inodes
    assert layout.blocks == 5 + 5 + 6


def test_large_files_are_aligned_and_small_ones_fill_the_gap() -> None:
    layout = lay(MIB_BLOCKS, 3 * MIB_BLOCKS, *[20] * 37)
    check_sound(layout)
    (first,), (second,) = layout.runs[:2]
    assert first.disk_block % HUGE_PAGE_BLOCKS == 0
    assert second.disk_block % HUGE_PAGE_BLOCKS == 0
    assert sum(count for _, count in layout.free) < 20
    assert layout.blocks == max(first.disk_block, second.disk_block) + (
        MIB_BLOCKS if first.disk_block > second.disk_block else 3 * MIB_BLOCKS
    )


@pytest.mark.parametrize("address_block", [0, 1, 256, 511, 0x20000])
def test_alignment_is_of_the_absolute_address(address_block: int) -> None:
    layout = lay(MIB_BLOCKS, 700, 9, address=address_block)
    check_sound(layout)
    for ((_, disk_block, _),) in layout.runs[:2]:
        assert (address_block + disk_block) % HUGE_PAGE_BLOCKS == 0


def test_just_under_a_megabyte_is_not_aligned() -> None:
    layout = lay(MIB_BLOCKS - 1)
    assert layout.runs[0][0].disk_block == 10


def test_pieces_of_a_sparse_file_agree_with_their_place_in_it() -> None:
    layout = lay((BlockExtent(0, 2), BlockExtent(5, 1), BlockExtent(1000, 300)))
    check_sound(layout)
    assert [(run.file_block, run.blocks) for run in layout.runs[0]] == [(0, 2), (5, 1), (1000, 300)]
    assert (layout.runs[0][2].disk_block - 1000) % HUGE_PAGE_BLOCKS == 0


def test_a_file_goes_whole_behind_the_next_group_rather_than_in_two() -> None:
    layout = lay(100 * MIB_BLOCKS, 60 * MIB_BLOCKS)
    check_sound(layout)
    assert [len(runs) for runs in layout.runs] == [1, 1]
    assert layout.geometry.groups == 2


def test_a_file_longer_than_a_group_is_cut_at_metadata_only() -> None:
    layout = lay(300 * MIB_BLOCKS)
    check_sound(layout)
    assert len(layout.runs[0]) == 3
    for run in layout.runs[0]:
        assert (run.disk_block - run.file_block) % HUGE_PAGE_BLOCKS == 0
    assert sum(run.blocks for run in layout.runs[0]) == 300 * MIB_BLOCKS


def test_a_file_may_be_cut_so_that_one_block_is_left() -> None:
    ((first, second, _),) = lay(300 * MIB_BLOCKS).runs
    layout = lay(first.blocks + second.blocks + 1)
    check_sound(layout)
    assert [run.blocks for run in layout.runs[0]] == [first.blocks, second.blocks, 1]


def test_a_limit_too_tight_for_whole_files_cuts_one() -> None:
    files = (100 * MIB_BLOCKS, 60 * MIB_BLOCKS)
    whole = lay(*files)
    cut = lay(*files, limit=whole.blocks - 20 * MIB_BLOCKS)
    check_sound(cut)
    assert sorted(len(runs) for runs in cut.runs) == [1, 2]
    assert cut.blocks == whole.blocks - 20 * MIB_BLOCKS


def test_the_limit_is_covered_and_brings_inodes_for_new_files() -> None:
    layout = lay(4, limit=40_000)
    check_sound(layout)
    assert layout.blocks == 40_000
    assert layout.geometry.groups == 2
    assert layout.geometry.inodes > 20 + 40_000 * 4096 // 16384 * 9 // 10


def test_a_last_group_without_room_for_its_own_metadata_is_left_out() -> None:
    layout = lay(4, limit=BLOCKS_PER_GROUP + 3)
    check_sound(layout)
    assert layout.geometry.groups == 1
    assert layout.blocks == BLOCKS_PER_GROUP


def aligned(layout: Layout, address: int = 0) -> list[bool]:
    """Say for each file whether its one run is aligned."""
    return [(address + run.disk_block - run.file_block) % HUGE_PAGE_BLOCKS == 0 for (run,) in layout.runs]


def test_too_small_a_limit_tells_what_is_needed() -> None:
    metadata = lay(1).blocks - 1
    needed = metadata + MIB_BLOCKS + 7
    given = needed - 1
    wanted = rf"needs {needed * 4096} bytes, given are {given * 4096}; .* \(in pages: {needed} and {given}\)"
    with pytest.raises(ImageError, match=wanted):
        lay(MIB_BLOCKS, 7, limit=needed - 1)
    check_sound(lay(MIB_BLOCKS, 7, limit=needed))


def test_alignment_gives_way_before_a_limit_is_too_small() -> None:
    roomy = lay(MIB_BLOCKS, 7)
    assert (roomy.unaligned, aligned(roomy)[0]) == (0, True)
    for limit in (lay(1).blocks - 1 + MIB_BLOCKS + 7, roomy.blocks - 1):
        crowded = lay(MIB_BLOCKS, 7, limit=limit)
        check_sound(crowded)
        assert crowded.unaligned == 1
        assert crowded == lay(MIB_BLOCKS, 7, limit=limit)


def test_the_smallest_give_way_first_and_as_few_as_need_be() -> None:
    files = (5 * MIB_BLOCKS, 3 * MIB_BLOCKS, MIB_BLOCKS + 9)
    needed = lay(*files).blocks
    metadata = lay(1).blocks - 1
    crowded = lay(*files, limit=needed - MIB_BLOCKS // 2)
    check_sound(crowded)
    assert crowded.unaligned == 1
    assert aligned(crowded)[:2] == [True, True]
    full = lay(*files, limit=metadata + sum(files))
    check_sound(full)
    assert full.unaligned == 3


def test_what_no_group_holds_whole_is_cut_without_alignment_too() -> None:
    blocks = 3 * BLOCKS_PER_GROUP
    with pytest.raises(ImageError) as caught:
        lay(blocks, limit=blocks)
    needed = int(str(caught.value).split()[3]) // 4096
    layout = lay(blocks, limit=needed)
    check_sound(layout)
    assert layout.unaligned == 1
    assert layout.blocks - sum(run.blocks for run in layout.runs[0]) < 100


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
def test_a_limit_below_the_metadata_is_refused(limit: int) -> None:
    with pytest.raises(ImageError, match="the image needs"):
        lay(1, limit=limit)


def test_metadata_may_run_over_several_groups() -> None:
    layout = lay(1, meta=BLOCKS_PER_GROUP + 100)
    check_sound(layout)
    assert sum(count for _, count in layout.meta) == BLOCKS_PER_GROUP + 100
    assert len(layout.meta) == 2


def test_very_many_empty_files_get_groups_for_their_inodes() -> None:
    layout = lay_out(Demand(100_000, 500, []), 0, None)
    check_sound(layout)
    assert layout.geometry.groups == 4
    assert layout.geometry.inodes >= 100_000


def test_more_blocks_than_ext2_counts_are_refused() -> None:
    with pytest.raises(ImageError, match="more than 4294967295 blocks"):
        lay(1 << 32)


def test_blocks_beyond_what_ext2_counts_that_only_metadata_brings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = lay(*[100] * 10).blocks
    monkeypatch.setattr(layout_module, "MAX_BLOCKS", blocks)
    assert lay(*[100] * 10).blocks == blocks
    monkeypatch.setattr(layout_module, "MAX_BLOCKS", blocks - 1)
    with pytest.raises(ImageError, match=f"more than {blocks - 1} blocks"):
        lay(*[100] * 10)


def test_run_is_a_plain_triple() -> None:
    assert BlockRun(1, 2, 3) == (1, 2, 3)
