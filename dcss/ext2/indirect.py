"""Block maps: fifteen pointers, direct to triple indirect, read as runs of contiguous blocks.

Pointers are compared in place: a stretch of consecutive ones takes a few calls, however long it is. Where they are not
consecutive, they are unpacked, 128 at a time, into numbers. Never through a bytes object: that would leave
a byte-for-byte copy of the indirect block in freed memory, and a search of the guest's memory for copies would find it.
"""

import sys
from array import array
from collections.abc import Iterator, Sequence
from errno import EINVAL, EIO
from functools import cache
from stat import S_IFREG
from struct import Struct
from typing import NamedTuple

from dcss.abi.ext2 import (
    DIND_BLOCK,
    FOREIGN_BLOCK_MAPS,
    IND_BLOCK,
    NDIR_BLOCKS,
    SECTOR_SIZE,
    TIND_BLOCK,
    InodeFlag,
)
from dcss.errors import KernelError
from dcss.ext2.inode import Inode
from dcss.ext2.super import SbInfo

POINTER_BYTES = 4
_POINTER = Struct("<I")
_FOREIGN_FLAGS = int(FOREIGN_BLOCK_MAPS)  # an IntFlag's & takes longer than the rest of a lookup
_CHUNK = Struct("<128I")
_CHUNK_POINTERS = _CHUNK.size // POINTER_BYTES
_HALVES = 1 << 16  # values of a pointer's lower 16 bits
_TABLE_START = 0x5DC5 << 16  # pointers past every segment's end, which no block map has


class BlockRun(NamedTuple):
    """Blocks that lie one after the other, in the file and on the device; `disk_block` 0 is a hole."""

    file_block: int
    disk_block: int
    blocks: int


def max_file_blocks(info: SbInfo) -> int:
    """Return how many blocks fifteen pointers can map: 12, and 1 to 3 levels of indirect blocks."""
    per_block = info.block_size_bytes // POINTER_BYTES
    return NDIR_BLOCKS + per_block + per_block**2 + per_block**3


def max_size_bytes(block_size_bytes: int) -> int:
    """Return how long a file may be (ext2_max_size): i_blocks has 32 bits, and counts indirect blocks too."""
    per_block = block_size_bytes // POINTER_BYTES
    limit = ((1 << 32) - 1) // (block_size_bytes // SECTOR_SIZE)
    mapped = limit - NDIR_BLOCKS - per_block - per_block**2  # by the third level
    indirect = 1 + (1 + per_block) + 1 + -(-mapped // per_block) + -(-mapped // per_block**2)
    return (limit - indirect) * block_size_bytes


def pack_pointers(pointers: Sequence[int]) -> bytes:
    """Return the block that holds these pointers, one for each it has room for."""
    return Struct(f"<{len(pointers)}I").pack(*pointers)


def size_blocks(info: SbInfo, inode: Inode) -> int:
    """Return the blocks that i_size spans, or raise Ext2FormatError if no block map can hold them."""
    blocks = -(-inode.size_bytes // info.block_size_bytes)
    if blocks > max_file_blocks(info):
        wanted = f"at most {max_file_blocks(info) * info.block_size_bytes} bytes"
        raise info.damaged(f"inode {inode.number}", "i_size", f"{inode.size_bytes} bytes", wanted)
    return blocks


def get_block(info: SbInfo, inode: Inode, file_block: int) -> int:
    """Return the block on the device that holds a block of a file, 0 for a hole; i_size plays no part.

    Past what pointers can map: KernelError(EIO). A pointer off the device: Ext2FormatError.
    """
    _check_mapped(info, inode)
    path = block_to_path(file_block, info.block_size_bytes // POINTER_BYTES)
    if not path:
        raise _past_the_end(inode, file_block)
    pointer, levels = inode.block_pointers[path[0]], len(path) - 1
    while pointer:
        if not info.superblock.s_first_data_block <= pointer < info.block_limit:
            info.check_block(
                pointer, f"inode {inode.number}", f"pointer to file block {file_block}, {levels} levels up"
            )
        if levels == 0:
            break
        offset = pointer * info.block_size_bytes + path[-levels] * POINTER_BYTES
        (pointer,) = _POINTER.unpack(info.source.bytes_at(offset, POINTER_BYTES))
        levels -= 1
    return pointer


def block_to_path(file_block: int, per_block: int) -> tuple[int, ...]:
    """Return which pointer of the inode, then of each indirect block, leads to a block of a file (ext2_block_to_path).

    `per_block` is how many pointers a block holds. Empty for a block that fifteen pointers cannot reach.
    """
    if file_block < NDIR_BLOCKS:
        return (file_block,) if file_block >= 0 else ()
    rest = file_block - NDIR_BLOCKS
    if rest < per_block:
        return IND_BLOCK, rest
    rest -= per_block
    if rest < per_block**2:
        return DIND_BLOCK, *divmod(rest, per_block)
    high, low = divmod(rest - per_block**2, per_block)
    return (TIND_BLOCK, *divmod(high, per_block), low) if high < per_block**2 else ()


def runs(info: SbInfo, inode: Inode, first_block: int, block_count: int | None) -> Iterator[BlockRun]:
    """Yield the runs of a file's blocks in order, each as long as it can be, also across indirect blocks.

    `block_count` None is up to i_size. Each missing indirect block costs one step, however much it would map.
    """
    if block_count == 1:  # the common case of reading one page needs no walk over the map
        yield BlockRun(first_block, get_block(info, inode, first_block), 1)
        return
    end = size_blocks(info, inode) if block_count is None else first_block + block_count
    if first_block < 0 or end > max_file_blocks(info):
        raise _past_the_end(inode, end - 1)
    file_block = disk_block = blocks = 0
    for start, block, length in _Map(info, inode, first_block, end).spans():
        if blocks and block == (disk_block + blocks if disk_block else 0):
            blocks += length
            continue
        if blocks:
            yield BlockRun(file_block, disk_block, blocks)
        file_block, disk_block, blocks = start, block, length
    if blocks:
        yield BlockRun(file_block, disk_block, blocks)


def indirect_blocks(info: SbInfo, inode: Inode) -> Iterator[int]:
    """Yield the blocks that hold a file's pointers, each before those it points to, also past i_size."""
    return _Map(info, inode, 0, max_file_blocks(info)).indirect_blocks()


def _past_the_end(inode: Inode, file_block: int) -> KernelError:
    return KernelError(EIO, f"inode {inode.number}: file block {file_block} is past what its pointers can map")


def _check_mapped(info: SbInfo, inode: Inode) -> None:
    if inode.mode & 0xF000 != S_IFREG and not inode.has_block_map:
        raise KernelError(EINVAL, f"inode {inode.number}: mode {inode.mode:#o} has no blocks")
    if flags := inode.flags & _FOREIGN_FLAGS:
        wanted = "none of them, as the superblock has no such feature"
        raise info.damaged(f"inode {inode.number}", "i_flags", InodeFlag(flags).name, wanted)


class _Map:
    """One pass over a part of a file's block map; an indirect block met twice in it is damage, so every pass ends."""

    __slots__ = ("_end", "_first", "_info", "_per_block", "_seen", "_where", "inode")

    def __init__(self, info: SbInfo, inode: Inode, first: int, end: int) -> None:
        _check_mapped(info, inode)
        self.inode = inode
        self._info = info
        self._first = first
        self._end = end
        self._per_block = info.block_size_bytes // POINTER_BYTES
        self._where = f"inode {inode.number}"
        self._seen: set[int] = set()

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Yield the requested part as file block, disk block and length; adjacent spans are not joined yet."""
        yield from self._direct()
        if self._end <= NDIR_BLOCKS:
            return
        for pointer, depth, base in self._roots():
            blocks = self._per_block**depth
            if self._first < base + blocks and base < self._end:
                if pointer:
                    yield from self._tree(pointer, depth, base)
                else:
                    yield self._hole(base, blocks)

    def _direct(self) -> Iterator[tuple[int, int, int]]:
        pointers, start, stop = self.inode.block_pointers, self._first, min(self._end, NDIR_BLOCKS)
        while start < stop:
            pointer, after = pointers[start], start + 1
            while after < stop and pointers[after] == (pointer + after - start if pointer else 0):
                after += 1
            if pointer:
                self._info.check_block(pointer, self._where, f"i_block[{start}]", after - start)
            yield start, pointer, after - start
            start = after

    def _hole(self, start: int, blocks: int) -> tuple[int, int, int]:
        """Return the requested part of a missing subtree."""
        first = max(start, self._first)
        return first, 0, min(start + blocks, self._end) - first

    def indirect_blocks(self) -> Iterator[int]:
        """Yield the blocks of pointers themselves."""
        for pointer, depth, _base in self._roots():
            if pointer:
                yield from self._indirect_tree(pointer, depth)

    def _roots(self) -> Iterator[tuple[int, int, int]]:
        """Yield pointer, depth and first file block of the three trees."""
        base = NDIR_BLOCKS
        for depth in (1, 2, 3):
            yield self.inode.block_pointers[IND_BLOCK + depth - 1], depth, base
            base += self._per_block**depth

    def _tree(self, block: int, depth: int, base: int) -> Iterator[tuple[int, int, int]]:
        self._enter(block)
        unit = self._per_block ** (depth - 1)
        low = max(self._first - base, 0) // unit
        high = min(-(-(self._end - base) // unit), self._per_block)
        for index, pointer, length in self._stretches(block, low, high):
            start = base + index * unit
            if pointer == 0:
                yield self._hole(start, length * unit)
            elif depth == 1:
                self._info.check_block(pointer, self._where, f"block {block}, pointer {index}", length)
                yield start, pointer, length
            else:
                for i in range(length):
                    yield from self._tree(pointer + i, depth - 1, start + i * unit)

    def _indirect_tree(self, block: int, depth: int) -> Iterator[int]:
        self._enter(block)
        yield block
        if depth > 1:
            for _index, pointer, length in self._stretches(block, 0, self._per_block):
                for child in range(pointer, pointer + length) if pointer else ():
                    yield from self._indirect_tree(child, depth - 1)

    def _enter(self, block: int) -> None:
        self._info.check_block(block, self._where, "indirect block")
        if block in self._seen:
            raise self._info.damaged(self._where, "indirect block", f"block {block} twice", "each block once")
        self._seen.add(block)

    def _stretches(self, block: int, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """Yield index, first pointer and length of each stretch of consecutive (or zero) pointers among low..high-1."""
        view = self._info.source.bytes_at(block * self._info.block_size_bytes, self._info.block_size_bytes)
        while low < high:
            (pointer,) = _POINTER.unpack_from(view, low * POINTER_BYTES)
            count = min(_HALVES - pointer % _HALVES, high - low)
            if _is_one_stretch(view, low, count, pointer):
                yield low, pointer, count
                low += count
                continue
            count = min(_CHUNK_POINTERS, high - low)
            chunk = _CHUNK if count == _CHUNK_POINTERS else Struct(f"<{count}I")
            pointers = chunk.unpack_from(view, low * POINTER_BYTES)
            start = 0
            while start < count:
                pointer = pointers[start]
                step = 1 if pointer else 0
                end = start + 1
                while end < count and pointers[end] == pointers[end - 1] + step:
                    end += 1
                yield low + start, pointer, end - start
                start = end
            low += count


def _is_one_stretch(view: memoryview, low: int, count: int, pointer: int) -> bool:
    """Whether `count` pointers of a block, the first of them `pointer`, are consecutive, or all zero where that is.

    Their lower 16 bits must not wrap around.
    """
    if pointer == 0:
        words = view.cast("I")[low : low + count]
        return words[1:] == words[:-1]
    halves = view.cast("H")[2 * low : 2 * (low + count)]
    upper = halves[1::2]
    first = pointer % _HALVES
    return halves[::2] == _lower_halves()[first : first + count] and upper[1:] == upper[:-1]


@cache
def _lower_halves() -> memoryview:
    """Return the lower 16 bits of the pointers 0 to 65535 as they are stored: the lowest byte comes first.

    The numbers lie apart in memory: in a row they would equal pages of fonts and character sets, and pass for copies.
    """
    pointers = array("I", range(_TABLE_START, _TABLE_START + _HALVES))
    if sys.byteorder == "big":
        pointers.byteswap()
    return memoryview(pointers).cast("B").cast("H")[::2]
