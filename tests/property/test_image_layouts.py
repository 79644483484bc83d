"""Layouts of any demand: every block has one purpose, promises of alignment and contiguity hold, sizes are exact."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dcss.errors import ImageError
from dcss.ext2.mkfs.geometry import BLOCKS_PER_GROUP
from dcss.ext2.mkfs.layout import HUGE_PAGE_BLOCKS, LARGE_BLOCKS, BlockExtent, Demand, Layout, lay_out

LENGTHS = st.one_of(st.integers(1, 20), st.integers(1, 600), st.integers(1, 3000), st.integers(1, 70_000))


@st.composite
def files(draw: st.DrawFn) -> tuple[BlockExtent, ...]:
    extents: list[BlockExtent] = []
    at = 0
    for _ in range(draw(st.integers(0, 4))):
        at += draw(st.integers(0, 1000))
        length = draw(LENGTHS)
        if extents and extents[-1].file_block + extents[-1].blocks == at:
            at += 1
        extents.append(BlockExtent(at, length))
        at += length
    return tuple(extents)


DEMANDS = st.builds(Demand, st.integers(12, 80_000), st.integers(6, 400), st.lists(files(), max_size=25))
ADDRESSES = st.one_of(st.just(0), st.integers(0, 1 << 20))


def check(layout: Layout, demand: Demand, address_block: int) -> None:
    unaligned = 0
    used = [(first, first + count) for first, count in [*layout.meta, *layout.free]]
    for group in range(layout.geometry.groups):
        used.append((group * BLOCKS_PER_GROUP, layout.geometry.first_free_block(group)))
    assert layout.geometry.inodes >= demand.inodes
    assert sum(count for _, count in layout.meta) == demand.meta_blocks
    for extents, runs in zip(demand.files, layout.runs, strict=True):
        joined: list[list[int]] = []
        for run in runs:
            used.append((run.disk_block, run.disk_block + run.blocks))
            if joined and sum(joined[-1]) == run.file_block:
                joined[-1][1] += run.blocks
            else:
                joined.append([run.file_block, run.blocks])
        assert [tuple(each) for each in joined] == list(extents)
        for extent in extents:
            inside = [run for run in runs if extent.file_block <= run.file_block < extent.file_block + extent.blocks]
            if extent.blocks >= LARGE_BLOCKS:
                at_home = [(address_block + run.disk_block - run.file_block) % HUGE_PAGE_BLOCKS == 0 for run in inside]
                unaligned += not all(at_home)
            else:
                assert len(inside) == 1
    # Where alignment was given up, a stretch may lie right by chance.
    assert unaligned <= layout.unaligned
    used.sort()
    assert used[0][0] == 0
    assert used[-1][1] == layout.blocks
    for (_, end), (first, _) in pairwise(used):
        assert end == first


@given(DEMANDS, ADDRESSES)
def test_the_smallest_layout(demand: Demand, address_block: int) -> None:
    layout = lay_out(demand, address_block, None)
    check(layout, demand, address_block)
    assert layout.unaligned == 0
    for extents, runs in zip(demand.files, layout.runs, strict=True):
        whole = all(extent.blocks < BLOCKS_PER_GROUP - 3000 for extent in extents)
        assert not whole or len(runs) == len(extents)
    assert lay_out(demand, address_block, None) == layout


@given(DEMANDS, ADDRESSES, st.integers(0, 100_000))
def test_what_is_needed_suffices_and_so_does_more(demand: Demand, address_block: int, more_blocks: int) -> None:
    needed = lay_out(demand, address_block, None).blocks
    exact = lay_out(demand, address_block, needed)
    check(exact, demand, address_block)
    larger = lay_out(demand, address_block, needed + more_blocks)
    assert exact.unaligned == larger.unaligned == 0
    check(larger, demand, address_block)
    assert needed + more_blocks - larger.blocks < 1200  # only a last group too short for its own metadata is left out


@given(DEMANDS, ADDRESSES, st.floats(0, 1))
def test_less_works_too_or_tells_what_works(demand: Demand, address_block: int, share: float) -> None:
    limit = int(lay_out(demand, address_block, None).blocks * share)
    try:
        layout = lay_out(demand, address_block, limit)
    except ImageError as error:
        needed = int(str(error).split("needs ")[1].split()[0]) // 4096
        assert needed > limit
        check(lay_out(demand, address_block, needed), demand, address_block)
    else:
        check(layout, demand, address_block)
