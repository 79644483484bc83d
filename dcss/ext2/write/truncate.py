"""Free the blocks of a file behind a place (ext2_truncate_blocks), and the blocks of pointers that lead to them.

What goes is collected before anything is changed, so that a damaged map changes nothing. Pointers are cleared first,
and blocks freed afterwards: no block is ever free and part of a file.
"""

from dataclasses import dataclass, field
from struct import Struct

from dcss.abi.ext2 import IND_BLOCK, NDIR_BLOCKS, SECTOR_SIZE
from dcss.ext2.indirect import POINTER_BYTES, max_file_blocks, runs
from dcss.ext2.inode import Inode
from dcss.ext2.super import SbInfo
from dcss.ext2.write.balloc import BlockAllocator


def truncate_blocks(allocator: BlockAllocator, inode: Inode, keep: int) -> None:
    """Free all blocks of a file behind its first `keep` ones. The inode is changed in memory; mark it dirty.

    A map that leads off the device, or twice to one block of pointers: Ext2FormatError, and nothing has changed.
    """
    info = allocator.info
    per_block = info.block_size_bytes // POINTER_BYTES
    data = runs(info, inode, keep, max_file_blocks(info) - keep)
    freed = [(run.disk_block, run.blocks) for run in data if run.disk_block]
    cut = _IndirectCut(info, inode, keep)
    pointers = list(inode.block_pointers)
    pointers[keep:NDIR_BLOCKS] = [0] * (NDIR_BLOCKS - keep)
    base = NDIR_BLOCKS
    for depth in (1, 2, 3):
        root = pointers[IND_BLOCK + depth - 1]
        if root and keep < base + per_block**depth and cut.collect(root, depth, base):
            pointers[IND_BLOCK + depth - 1] = 0
        base += per_block**depth
    for block, index in cut.cleared:
        offset = block * info.block_size_bytes + index * POINTER_BYTES
        info.writer().write(offset, bytes(info.block_size_bytes - index * POINTER_BYTES))
    inode.block_pointers = tuple(pointers)
    freed += [(block, 1) for block in cut.freed]
    sectors = sum(count for _, count in freed) * (info.block_size_bytes // SECTOR_SIZE)
    inode.blocks_512 = max(0, inode.blocks_512 - sectors)
    allocator.free(freed)


@dataclass(slots=True)
class _IndirectCut:
    """The blocks of pointers that go, and the index in others from where on all pointers are cleared."""

    info: SbInfo
    inode: Inode
    keep: int
    freed: list[int] = field(default_factory=list)
    cleared: list[tuple[int, int]] = field(default_factory=list)  # block, first index
    _seen: set[int] = field(default_factory=set)

    def collect(self, block: int, depth: int, base: int) -> bool:
        """Collect from a tree whose first file block is `base`; return whether all of it goes."""
        info, where = self.info, f"inode {self.inode.number}"
        info.check_block(block, where, "indirect block")
        if block in self._seen:
            raise info.damaged(where, "indirect block", f"block {block} twice", "each block once")
        self._seen.add(block)
        per_block = info.block_size_bytes // POINTER_BYTES
        unit = per_block ** (depth - 1)
        first = max(0, self.keep - base) // unit
        clear_from = first
        if depth > 1:
            view = info.source.bytes_at(block * info.block_size_bytes, info.block_size_bytes)
            for index, pointer in enumerate(Struct(f"<{per_block}I").unpack(view)[first:], first):
                if pointer and not self.collect(pointer, depth - 1, base + index * unit):
                    clear_from = index + 1  # the first one, which is kept in part
        if self.keep <= base:
            self.freed.append(block)
            return True
        if clear_from < per_block:
            self.cleared.append((block, clear_from))
        return False
