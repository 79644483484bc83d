"""Give holes of a file blocks on the device (ext2_get_blocks with create): data, and the blocks of pointers to it.

A branch is written from its end to its beginning, and the pointer that makes it part of the file last: what stops in
between leaves blocks that nobody uses, and never a pointer to what is not written.
"""

from collections.abc import Callable
from struct import Struct

from dcss.abi.ext2 import NDIR_BLOCKS, SECTOR_SIZE
from dcss.errors import KernelError
from dcss.ext2.groups import group_first_block
from dcss.ext2.indirect import POINTER_BYTES, block_to_path, get_block, pack_pointers, runs
from dcss.ext2.inode import Inode
from dcss.ext2.super import SbInfo
from dcss.ext2.write.balloc import BlockAllocator

Clear = Callable[[int, int, int], None]
"""Takes first file block, first block and count of blocks that were just allocated, and zeroes them."""

_POINTER = Struct("<I")


def fill_holes(allocator: BlockAllocator, inode: Inode, first: int, count: int, clear: Clear) -> int:
    """Give the holes among `count` blocks of a file, from file block `first` on, blocks that `clear` has zeroed.

    Returns how many file blocks from `first` on have a block then: fewer than `count` where the device is full, and
    KernelError(ENOSPC) where that is the first. Past what fifteen pointers can map: KernelError(EIO). The inode is
    changed in memory only; mark it dirty.
    """
    holes = [run for run in runs(allocator.info, inode, first, count) if not run.disk_block]
    for hole in holes:
        block, end = hole.file_block, hole.file_block + hole.blocks
        while block < end:
            try:
                block += _fill_stretch(allocator, inode, block, end - block, clear)
            except KernelError:
                if block == first:
                    raise
                return block - first
    return count


def _fill_stretch(allocator: BlockAllocator, inode: Inode, file_block: int, count: int, clear: Clear) -> int:
    """Fill part of a hole, as far as one block of pointers and one run of free blocks go; return how much that was."""
    info = allocator.info
    per_block = info.block_size_bytes // POINTER_BYTES
    path = block_to_path(file_block, per_block)
    room = (NDIR_BLOCKS if len(path) == 1 else per_block) - path[-1]
    parent, index, missing = _end_of_chain(info, inode, path)
    goal = _goal(info, inode, file_block, parent)
    indirect: list[int] = []
    try:
        for _ in range(missing):
            taken, _ = allocator.allocate(goal, 1)
            indirect.append(taken)
            goal = taken + 1
        first, length = allocator.allocate(goal, min(count, room))
    except KernelError:
        allocator.free((block, 1) for block in indirect)
        raise
    clear(file_block, first, length)
    pointers = list(range(first, first + length))
    for level, block in zip(range(len(path) - 1, 0, -1), reversed(indirect), strict=False):
        before = path[level]
        behind = per_block - before - len(pointers)
        content = pack_pointers([0] * before + pointers + [0] * behind)
        info.writer().write(block * info.block_size_bytes, content)
        pointers = [block]
    if parent:
        info.writer().write(parent * info.block_size_bytes + index * POINTER_BYTES, pack_pointers(pointers))
    else:
        kept = inode.block_pointers
        inode.block_pointers = (*kept[:index], *pointers, *kept[index + len(pointers) :])
    inode.blocks_512 += (length + missing) * (info.block_size_bytes // SECTOR_SIZE)
    return length


def _end_of_chain(info: SbInfo, inode: Inode, path: tuple[int, ...]) -> tuple[int, int, int]:
    """Return where the pointer that is missing belongs: the block it is in (0: the inode), its index there, and
    how many blocks of pointers are missing below it."""
    parent, index, pointer = 0, path[0], inode.block_pointers[path[0]]
    level = 0
    while pointer and level < len(path) - 1:
        info.check_block(pointer, f"inode {inode.number}", f"indirect block, level {level + 1}")
        level += 1
        parent, index = pointer, path[level]
        (pointer,) = _POINTER.unpack(
            info.source.bytes_at(parent * info.block_size_bytes + index * POINTER_BYTES, POINTER_BYTES)
        )
    return parent, index, len(path) - 1 - level


def _goal(info: SbInfo, inode: Inode, file_block: int, parent: int) -> int:
    """Return where a block should lie (ext2_find_goal): behind the one before it, else behind its pointers.

    A file without either begins in the group of its inode.
    """
    before = get_block(info, inode, file_block - 1) if file_block else 0
    if before or parent:
        return (before or parent) + 1
    return group_first_block(info, (inode.number - 1) // info.superblock.s_inodes_per_group)
