"""Where every block of an image lies, for execute-in-place.

Metadata lies together at the front. A stretch of data of 1 MiB or more is laid so that its place in the file and its
absolute address agree modulo 2 MiB: then huge pages can map it. What is smaller goes, largest first, into the tightest
gap that takes it whole. Data is cut only where it does not fit between the metadata of two block groups (128 MiB).

Where the size is given and too small for that, alignment gives way: that of the smallest stretches first, and of as few
as possible.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from dcss.errors import ImageError, ImageSizeError
from dcss.ext2.indirect import BlockRun
from dcss.ext2.mkfs.geometry import (
    BLOCK_SIZE_BYTES,
    BLOCKS_PER_GROUP,
    MAX_BLOCKS,
    MAX_INODES_PER_GROUP,
    Geometry,
    geometry_for,
    groups_of,
)

HUGE_PAGE_BYTES: Final = 2 << 20
LARGE_BYTES: Final = 1 << 20  # data of this size or more is aligned
HUGE_PAGE_BLOCKS: Final = HUGE_PAGE_BYTES // BLOCK_SIZE_BYTES
LARGE_BLOCKS: Final = LARGE_BYTES // BLOCK_SIZE_BYTES
_BYTES_PER_SPARE_INODE: Final = 16384  # mke2fs's inode_ratio


class BlockExtent(NamedTuple):
    """Blocks of a file that are not a hole."""

    file_block: int
    blocks: int


class Demand(NamedTuple):
    """What an image must hold: inodes, blocks of metadata, and each file's extents."""

    inodes: int
    meta_blocks: int
    files: Sequence[tuple[BlockExtent, ...]]


class Layout(NamedTuple):
    """Where everything lies: `blocks` of file system, `runs` by number of file, `free` as (first block, blocks).

    `unaligned` counts stretches of data of 1 MiB or more that lie anywhere, since the size leaves no room for more.
    """

    geometry: Geometry
    blocks: int
    meta: tuple[tuple[int, int], ...]
    runs: tuple[tuple[BlockRun, ...], ...]
    free: tuple[tuple[int, int], ...]
    unaligned: int = 0


class _Rules(NamedTuple):
    """How data is placed: stretches of `aligned_from_blocks` or more are aligned, unless nothing is (0).

    With `cut`, an aligned stretch that fits nowhere whole is cut.
    """

    aligned_from_blocks: int = LARGE_BLOCKS
    cut: bool = False


def lay_out(demand: Demand, address_block: int, limit_blocks: int | None) -> Layout:
    """Return the smallest layout, or one that covers `limit_blocks`. Raises ImageSizeError where these are too few."""
    smallest = _smallest(demand, address_block, _Rules())
    if limit_blocks is None:
        return smallest
    spare_inodes = max(0, limit_blocks - smallest.blocks) * BLOCK_SIZE_BYTES // _BYTES_PER_SPARE_INODE
    roomy = demand._replace(inodes=demand.inodes + spare_inodes)
    for attempt, rules in ((roomy, _Rules()), (demand, _Rules()), (demand, _Rules(cut=True))):
        try:
            return _covering(attempt, address_block, limit_blocks, rules)
        except _FullError:
            continue
    crowded = _crowded(demand, address_block, limit_blocks)
    if crowded is not None:
        return crowded
    anyhow = (_Rules(cut=True), _Rules(_none_aligned(demand), cut=True), _Rules(0, cut=True))
    needed_blocks = min(smallest.blocks, *(_smallest(demand, address_block, rules).blocks for rules in anyhow))
    raise ImageSizeError(
        f"the image needs {needed_blocks * BLOCK_SIZE_BYTES} bytes, given are {limit_blocks * BLOCK_SIZE_BYTES}; "
        f"give it more or leave files out (in pages: {needed_blocks} and {limit_blocks})",
        needed_blocks * BLOCK_SIZE_BYTES,
    )


def _crowded(demand: Demand, address_block: int, limit_blocks: int) -> Layout | None:
    """Return a layout in which some large data is not aligned, or None where not even that fits."""
    sizes = sorted({extent.blocks for extents in demand.files for extent in extents if extent.blocks >= LARGE_BLOCKS})
    best: Layout | None = None
    low, high = 0, len(sizes) - 1
    while low <= high:  # the fewest sizes to give up
        middle = (low + high) // 2
        try:
            best = _covering(demand, address_block, limit_blocks, _Rules(sizes[middle] + 1, cut=True))
            high = middle - 1
        except _FullError:
            low = middle + 1
    if best is None:
        try:
            return _covering(demand, address_block, limit_blocks, _Rules(0, cut=True))
        except _FullError:
            return None
    return best


def _none_aligned(demand: Demand) -> int:
    """Return a number of blocks that no stretch of data has."""
    return max((extent.blocks for extents in demand.files for extent in extents), default=LARGE_BLOCKS) + 1


def _too_many_blocks() -> ImageError:
    return ImageError(f"the image needs more than {MAX_BLOCKS} blocks of 4 KiB, which ext2 cannot count")


class _FullError(Exception):
    """The demand does not fit into the blocks."""


def _smallest(demand: Demand, address_block: int, rules: _Rules) -> Layout:
    data_blocks = sum(extent.blocks for extents in demand.files for extent in extents)
    if data_blocks + demand.meta_blocks >= MAX_BLOCKS:
        raise _too_many_blocks()  # before laying out 131,072 groups to find that out
    fewest = -(-demand.inodes // MAX_INODES_PER_GROUP)
    groups = max(groups_of(data_blocks + demand.meta_blocks + 1), fewest)
    tried: set[int] = set()
    while True:
        tried.add(groups)
        geometry = geometry_for(groups, demand.inodes)
        layout = _Room(geometry, address_block, None, rules).fill(demand)
        wanted = max(groups_of(layout.blocks), fewest)
        if groups_of(layout.blocks) == groups:
            return layout
        if wanted == groups or (wanted < groups and wanted in tried):
            # Fewer groups hold too few inodes, or do not suffice as their inode tables are longer: some stay empty.
            return _Room(geometry, address_block, geometry.first_free_block(groups - 1), rules).fill(demand)
        groups = wanted


def _covering(demand: Demand, address_block: int, limit_blocks: int, rules: _Rules) -> Layout:
    groups, blocks = max(groups_of(limit_blocks), 1), limit_blocks
    try:
        geometry = geometry_for(groups, demand.inodes)
        if blocks < geometry.first_free_block(groups - 1) and groups > 1:
            # The last group is too short for its own metadata: the file system ends before it.
            groups, blocks = groups - 1, (groups - 1) * BLOCKS_PER_GROUP
            geometry = geometry_for(groups, demand.inodes)
    except ImageError as error:
        raise _FullError from error
    return _Room(geometry, address_block, blocks, rules).fill(demand)


class _Room:
    """Free and allocated blocks, group by group.

    Choices do not depend on the limit, which only stops them: the size needed without a limit is enough as the limit.
    """

    def __init__(self, geometry: Geometry, address_block: int, limit_blocks: int | None, rules: _Rules) -> None:
        self._geometry = geometry
        self._address_block = address_block
        self._covers_limit = limit_blocks is not None
        self._limit_blocks = MAX_BLOCKS if limit_blocks is None else limit_blocks
        self._rules = rules
        self._fresh = self._stretches()
        self._open: list[list[int]] = []  # [first free block, end] of the groups that large data is put into
        self._gaps: list[tuple[int, int]] = []  # (blocks, first block), sorted
        self._end = 0

    def fill(self, demand: Demand) -> Layout:
        """Return where everything goes. Raises _FullError."""
        meta = tuple(self._take_meta(demand.meta_blocks))
        runs: list[list[BlockRun]] = [[] for _ in demand.files]
        pieces = [
            (-extent.blocks, number, extent.file_block)
            for number, extents in enumerate(demand.files)
            for extent in extents
        ]
        pieces.sort()
        # What does not fit between the metadata of two groups cannot be placed whole.
        large_blocks = min(self._rules.aligned_from_blocks or LARGE_BLOCKS, self._between_blocks + 1)
        small = bisect_left(pieces, (-large_blocks + 1,))
        for negative, number, file_block in pieces[:small]:
            runs[number] += self._take_large(file_block, -negative)
        for stretch in self._open:
            self._close(stretch)
        for negative, number, file_block in pieces[small:]:
            runs[number].append(BlockRun(file_block, self._take_small(-negative), -negative))
        blocks = self._limit_blocks if self._covers_limit else self._end
        free = sorted((first, min(count, blocks - first)) for count, first in self._gaps if first < blocks)
        if self._covers_limit:
            free += [(first, min(end, blocks) - first) for first, end in self._fresh if first < blocks]
        unaligned = 0
        if self._rules.aligned_from_blocks != LARGE_BLOCKS:
            given_up = small if not self._rules.aligned_from_blocks else 0
            unaligned = given_up + sum(-negative >= LARGE_BLOCKS for negative, _, _ in pieces[small:])
        ascending = tuple(tuple(sorted(each)) for each in runs)
        return Layout(self._geometry, blocks, meta, ascending, tuple(free), unaligned)

    @property
    def _between_blocks(self) -> int:
        """The blocks between the metadata of two groups."""
        return BLOCKS_PER_GROUP - (self._geometry.first_free_block(1) - BLOCKS_PER_GROUP)

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Yield (first free block, end) group by group; without a limit there is always one more."""
        group = 0
        while True:
            first = self._geometry.first_free_block(group)
            if self._covers_limit and group >= self._geometry.groups:
                return
            if first >= MAX_BLOCKS:
                raise _too_many_blocks()
            if group == 0:
                self._reach(first)
            yield first, (group + 1) * BLOCKS_PER_GROUP
            group += 1

    def _next_stretch(self) -> tuple[int, int]:
        for stretch in self._fresh:
            return stretch
        raise _FullError

    def _take_meta(self, blocks: int) -> Iterator[tuple[int, int]]:
        first, end = self._next_stretch()
        while blocks > end - first:
            if end > first:
                yield first, end - first
            blocks -= end - first
            first, end = self._next_stretch()
        if blocks:
            yield first, blocks
        self._reach(first + blocks)
        self._open.append([first + blocks, end])

    def _take_large(self, file_block: int, blocks: int) -> Iterator[BlockRun]:
        """Yield where a file's blocks go: one run, unless they do not fit between two groups' metadata."""
        whole = blocks <= self._between_blocks - HUGE_PAGE_BLOCKS
        if whole:
            try:
                yield self._take_aligned(file_block, blocks)
            except _FullError:
                if not self._rules.cut:
                    raise
            else:
                return
        for stretch in self._open_stretches():
            first = self._aligned(stretch[0], file_block)
            count = min(blocks, min(stretch[1], self._limit_blocks) - first)
            if count > 0:
                self._give(stretch, first, count)
                yield BlockRun(file_block, first, count)
                file_block, blocks = file_block + count, blocks - count
            if not blocks:
                return

    def _take_aligned(self, file_block: int, blocks: int) -> BlockRun:
        for stretch in self._open_stretches():
            first = self._aligned(stretch[0], file_block)
            if first + blocks <= min(stretch[1], self._limit_blocks):
                self._give(stretch, first, blocks)
                return BlockRun(file_block, first, blocks)
        raise _FullError

    def _open_stretches(self) -> Iterator[list[int]]:
        """Yield the groups in use, then fresh ones. Raises _FullError after the last."""
        yield from list(self._open)
        while True:
            stretch = list(self._next_stretch())
            self._open.append(stretch)
            yield stretch

    def _aligned(self, block: int, file_block: int) -> int:
        """Return the first block from `block` on whose address agrees with the file's modulo 2 MiB, if it must."""
        if not self._rules.aligned_from_blocks:
            return block
        return block + (file_block - self._address_block - block) % HUGE_PAGE_BLOCKS

    def _give(self, stretch: list[int], first: int, blocks: int) -> None:
        if first > stretch[0]:
            insort(self._gaps, (first - stretch[0], stretch[0]))
        stretch[0] = first + blocks
        self._reach(first + blocks)
        if stretch[1] - stretch[0] < LARGE_BLOCKS:
            self._open.remove(stretch)
            self._close(stretch)

    def _close(self, stretch: Sequence[int]) -> None:
        """Leave the rest of a group to small data."""
        first, end = stretch
        if end > first:
            insort(self._gaps, (end - first, first))

    def _take_small(self, blocks: int) -> int:
        gaps = self._gaps
        while (number := bisect_left(gaps, (blocks, 0))) == len(gaps):
            self._close(self._next_stretch())
        count, first = gaps.pop(number)
        if count > blocks:
            insort(gaps, (count - blocks, first + blocks))
        self._reach(first + blocks)
        return first

    def _reach(self, end: int) -> None:
        """Note how far blocks are in use."""
        if end > self._limit_blocks:
            if self._covers_limit:
                raise _FullError
            raise _too_many_blocks()
        self._end = max(self._end, end)
