"""ext2's block map of one file: the fifteen pointers of its inode, and the indirect blocks behind the last three."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from dcss.abi.ext2 import DIND_BLOCK, IND_BLOCK, N_BLOCKS, NDIR_BLOCKS, TIND_BLOCK
from dcss.errors import ImageError
from dcss.ext2.indirect import POINTER_BYTES, BlockRun, max_size_bytes, pack_pointers
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.mkfs.layout import BlockExtent

POINTERS: Final = BLOCK_SIZE_BYTES // POINTER_BYTES  # in one indirect block
_FIRST_TIND_LEAF: Final = 1 + POINTERS


MAX_FILE_BYTES: Final = max_size_bytes(BLOCK_SIZE_BYTES)


def count_indirect_blocks(extents: Sequence[BlockExtent]) -> int:
    """Return how many indirect blocks a file of these extents needs."""
    if not extents or extents[-1].file_block + extents[-1].blocks <= NDIR_BLOCKS:
        return 0
    leaves = _leaf_ranges(extents)
    behind_tind = [
        (max(first, _FIRST_TIND_LEAF) - _FIRST_TIND_LEAF, last - _FIRST_TIND_LEAF)
        for first, last in leaves
        if last >= _FIRST_TIND_LEAF
    ]
    middle = _merged((first // POINTERS, last // POINTERS) for first, last in behind_tind)
    behind_dind = any(first < _FIRST_TIND_LEAF and last >= 1 for first, last in leaves)
    counted = sum(last - first + 1 for ranges in (leaves, middle) for first, last in ranges)
    return counted + behind_dind + bool(behind_tind)


def _leaf_ranges(extents: Iterable[BlockExtent]) -> list[tuple[int, int]]:
    """Return which last-level indirect blocks are needed, numbered from the inode's own on, as (first, last)."""
    return _merged(
        ((max(file_block, NDIR_BLOCKS) - NDIR_BLOCKS) // POINTERS, (file_block + blocks - 1 - NDIR_BLOCKS) // POINTERS)
        for file_block, blocks in extents
        if file_block + blocks > NDIR_BLOCKS
    )


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


class BlockMap:
    """The block map of a file whose data lies in `runs`; `take` gives the places of indirect blocks, one a call."""

    __slots__ = ("_leaves", "_middle", "_runs", "indirect_blocks", "pointers")

    def __init__(self, runs: Sequence[BlockRun], take: Callable[[], int]) -> None:
        """Place the indirect blocks; `pointers` and `indirect_blocks` (their number) then hold."""
        self._runs = runs
        self._leaves: list[tuple[int, int]] = []  # (number, block)
        self._middle: list[tuple[int, int]] = []
        pointers = _pointers(runs, 0, NDIR_BLOCKS) + [0] * (N_BLOCKS - NDIR_BLOCKS)
        end = runs[-1].file_block + runs[-1].blocks if runs else 0
        if end > NDIR_BLOCKS:
            self._place(take, pointers)
        self.pointers = tuple(pointers)
        self.indirect_blocks = (
            len(self._leaves) + len(self._middle) + bool(pointers[DIND_BLOCK]) + bool(pointers[TIND_BLOCK])
        )

    def _place(self, take: Callable[[], int], pointers: list[int]) -> None:
        for first, last in _leaf_ranges(BlockExtent(run.file_block, run.blocks) for run in self._runs):
            for leaf in range(first, last + 1):
                if leaf >= _FIRST_TIND_LEAF:
                    pointers[TIND_BLOCK] = pointers[TIND_BLOCK] or take()
                    middle = (leaf - _FIRST_TIND_LEAF) // POINTERS
                    if not self._middle or self._middle[-1][0] != middle:
                        self._middle.append((middle, take()))
                elif leaf:
                    pointers[DIND_BLOCK] = pointers[DIND_BLOCK] or take()
                self._leaves.append((leaf, take()))
        if self._leaves and self._leaves[0][0] == 0:
            pointers[IND_BLOCK] = self._leaves[0][1]

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield every indirect block as (its place, its 4096 bytes)."""
        number = 0
        for leaf, block in self._leaves:
            start = NDIR_BLOCKS + leaf * POINTERS
            while self._runs[number].file_block + self._runs[number].blocks <= start:
                number += 1
            yield block, pack_pointers(_pointers(self._runs, start, POINTERS, number))
        if self.pointers[DIND_BLOCK]:
            inner = [(leaf - 1, block) for leaf, block in self._leaves if 1 <= leaf < _FIRST_TIND_LEAF]
            yield self.pointers[DIND_BLOCK], pack_pointers(_sparse(inner))
        if self.pointers[TIND_BLOCK]:
            yield self.pointers[TIND_BLOCK], pack_pointers(_sparse(self._middle))
            behind = [(leaf - _FIRST_TIND_LEAF, block) for leaf, block in self._leaves if leaf >= _FIRST_TIND_LEAF]
            at = 0
            for middle, place in self._middle:
                inner = []
                while at < len(behind) and behind[at][0] // POINTERS == middle:
                    inner.append((behind[at][0] % POINTERS, behind[at][1]))
                    at += 1
                yield place, pack_pointers(_sparse(inner))


def direct_pointers(runs: Sequence[BlockRun]) -> tuple[int, ...] | None:
    """Return i_block of a file that is one run of up to twelve blocks, as most are; None for any other."""
    file_block, disk_block, blocks = runs[0]
    if len(runs) > 1 or file_block or blocks > NDIR_BLOCKS:
        return None
    return *range(disk_block, disk_block + blocks), *(0,) * (N_BLOCKS - blocks)


def _pointers(runs: Sequence[BlockRun], start: int, count: int, number: int = 0) -> list[int]:
    """Return `count` pointers from the file's block `start` on; `number` is the first run that may reach it."""
    pointers = [0] * count
    for file_block, disk_block, blocks in runs[number:]:
        if file_block >= start + count:
            break
        low, high = max(file_block, start), min(file_block + blocks, start + count)
        if low < high:
            pointers[low - start : high - start] = range(disk_block + low - file_block, disk_block + high - file_block)
    return pointers


def _sparse(inner: Iterable[tuple[int, int]]) -> list[int]:
    pointers = [0] * POINTERS
    for number, block in inner:
        pointers[number] = block
    return pointers


def check_file_size(path: bytes, size_bytes: int) -> None:
    """Raise ImageError for a file that is longer than ext2 can map at this block size."""
    if size_bytes > MAX_FILE_BYTES:
        raise ImageError(
            f"{path.decode(errors='surrogateescape')}: found {size_bytes} bytes, ext2 maps at most {MAX_FILE_BYTES}"
        )
