"""Allocate and free blocks (fs/ext2/balloc.c): near a goal, in runs, and the reserved ones for those who may.

Bitmaps are changed on the device at once, descriptors and superblock at the next sync. A bitmap that says nonsense is
damage (Ext2FormatError), found before anything is changed.
"""

from collections.abc import Iterable, Iterator
from errno import ENOSPC

from dcss.errors import KernelError
from dcss.ext2.bitmap import find_clear, load_bitmap, span_bits, store_bitmap
from dcss.ext2.groups import GroupTable, group_first_block, group_last_block, table_blocks
from dcss.ext2.super import SbInfo

_NEAR_BITS = 64  # so far behind the goal any free block is taken; farther on a free byte of the bitmap is looked for


class BlockAllocator:
    """The free blocks of one volume. Only while `privileged` is set are those given that the superblock reserves."""

    __slots__ = ("_groups", "info", "privileged")

    def __init__(self, info: SbInfo, groups: GroupTable) -> None:
        self.info = info
        self._groups = groups
        self.privileged = True

    def allocate(self, goal: int, count: int) -> tuple[int, int]:
        """Take up to `count` blocks in one run, at or near block `goal`; return the first one, and how many.

        Raises KernelError(ENOSPC).
        """
        superblock = self.info.superblock
        free = superblock.s_free_blocks_count - (0 if self.privileged else superblock.s_r_blocks_count)
        if free <= 0:
            raise self._full()
        count = min(count, free)
        if not superblock.s_first_data_block <= goal < superblock.s_blocks_count:
            goal = superblock.s_first_data_block
        first_group, offset = divmod(goal - superblock.s_first_data_block, superblock.s_blocks_per_group)
        # The goal's group comes twice: from the goal on, and at the end from its beginning.
        for step in range(self.info.group_count + 1):
            group = (first_group + step) % self.info.group_count
            if self._groups.get(group).bg_free_blocks_count:
                taken = self._allocate_in(group, offset if step == 0 else 0, count)
                if taken is not None:
                    return taken
        raise self._full()

    def free(self, runs: Iterable[tuple[int, int]]) -> None:
        """Give back runs of blocks, as (first, count). What was free, or is metadata of a group: Ext2FormatError."""
        for first, count in runs:
            self.info.check_block(first, "ext2_free_blocks", "Freeing blocks not in datazone", count)
            for group, start, length in self._split(first, count):
                self._free_in(group, start, length)

    def _allocate_in(self, group: int, offset: int, count: int) -> tuple[int, int] | None:
        first_block = group_first_block(self.info, group)
        size = group_last_block(self.info, group) - first_block + 1
        bits = self._load(group)
        found = _usable_bit(bits, offset, size)
        if found is None:
            return None
        # Free blocks behind the first one, until the first that is taken.
        behind = bits >> found
        length = min(count, size - found, (behind & -behind).bit_length() - 1 if behind else count)
        self._check_data_zone(group, first_block + found, length, "Allocating block in system zone")
        self._store(group, bits | span_bits(found, found + length), -length)
        return first_block + found, length

    def _free_in(self, group: int, start: int, length: int) -> None:
        self._check_data_zone(group, start, length, "Freeing blocks in system zones")
        first = start - group_first_block(self.info, group)
        bits, span = self._load(group), span_bits(first, first + length)
        if bits & span != span:
            raise self.info.damaged(
                "ext2_free_blocks", "bit already cleared for blocks", f"{start}..{start + length - 1}", "blocks in use"
            )
        self._store(group, bits & ~span, length)
        size_bytes = self.info.block_size_bytes
        self.info.writer().discard(start * size_bytes, length * size_bytes)

    def _split(self, first: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Yield a run as group, first block and length of its part in each group."""
        superblock = self.info.superblock
        while count:
            group = (first - superblock.s_first_data_block) // superblock.s_blocks_per_group
            length = min(count, group_last_block(self.info, group) + 1 - first)
            yield group, first, length
            first += length
            count -= length

    def _check_data_zone(self, group: int, start: int, length: int, field: str) -> None:
        desc, end = self._groups.get(group), start + length
        table = desc.bg_inode_table
        if (
            start <= desc.bg_block_bitmap < end
            or start <= desc.bg_inode_bitmap < end
            or (start < table + table_blocks(self.info) and table < end)
        ):
            raise self.info.damaged(f"group {group}", field, f"blocks {start}..{end - 1}", "blocks of data")

    def _load(self, group: int) -> int:
        size_bytes = self.info.block_size_bytes
        return load_bitmap(self.info.source.bytes_at(self._groups.get(group).bg_block_bitmap * size_bytes, size_bytes))

    def _store(self, group: int, bits: int, freed: int) -> None:
        """Write a group's bitmap, and count `freed` blocks more, or fewer where that is negative."""
        info, desc = self.info, self._groups.get(group)
        info.writer().write(desc.bg_block_bitmap * info.block_size_bytes, store_bitmap(bits, info.block_size_bytes))
        self._groups.set(group, desc._replace(bg_free_blocks_count=desc.bg_free_blocks_count + freed & 0xFFFF))
        free = max(0, info.superblock.s_free_blocks_count + freed)
        info.superblock = info.superblock._replace(s_free_blocks_count=free)
        info.superblock_dirty = True

    def _full(self) -> KernelError:
        block = self.info.superblock
        found = f"{block.s_free_blocks_count} free blocks, {block.s_r_blocks_count} of them for root"
        return KernelError(ENOSPC, f"{self.info.device}: no space left: found {found}")


def _usable_bit(bits: int, start: int, size: int) -> int | None:
    """Return a clear bit at or behind `start`: close to it, else in a clear byte, else any (find_next_usable_block)."""
    near = find_clear(bits, start, min(size, start + _NEAR_BITS))
    if near is not None:
        return near
    whole_bytes = (size - start) // 8
    tail = bits >> start & span_bits(0, 8 * whole_bytes)
    clear_byte = tail.to_bytes(whole_bytes, "little").find(b"\0")
    return start + 8 * clear_byte if clear_byte >= 0 else find_clear(bits, start, size)
