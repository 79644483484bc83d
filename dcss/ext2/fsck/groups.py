"""Check that no block is used twice, and that bitmaps and counts agree with what is used."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from stat import S_IFDIR, S_IFMT
from typing import Final

from dcss.abi.ext2 import GROUP_DESC, SUPERBLOCK_OFFSET, Incompat
from dcss.errors import Ext2FormatError
from dcss.ext2.bitmap import load_bitmap, padding_bits, span_bits
from dcss.ext2.fsck.context import BlockUse, CheckContext
from dcss.ext2.groups import descriptor_blocks, group_first_block, group_last_block, has_super, table_blocks

_UNINIT_FLAGS: Final = 3  # ext4's for bitmaps and inode tables that were never written; in ext2 the field is padding
_META_GROUP_COPIES: Final = 3  # of a block of descriptors with meta_bg: in a meta group's first, second and last group


def check_descriptors(context: CheckContext) -> None:
    """Find groups with a damaged descriptor; their bitmaps and inodes cannot be checked."""
    for group in context.groups:
        try:
            descriptor = context.volume.group(group)
            for block, count in (
                (descriptor.bg_block_bitmap, 1),
                (descriptor.bg_inode_bitmap, 1),
                (descriptor.bg_inode_table, table_blocks(context.info)),
            ):
                context.info.check_block(block, f"group {group}", "bitmaps and inode table", count)
            if flags := descriptor.bg_pad & _UNINIT_FLAGS:
                context.add("group", f"group {group}", f"bg_flags: found {flags}, wanted 0: ext2 has no such flags")
        except Ext2FormatError as error:
            context.bad_groups.add(group)
            context.add("group", f"group {group}", str(error))


def check_superblock(context: CheckContext) -> None:
    """Compare the superblock's counts with each other and with the device."""
    info, superblock = context.info, context.info.superblock
    if info.block_limit < superblock.s_blocks_count:
        context.add(
            "superblock",
            "superblock",
            f"s_blocks_count: found {superblock.s_blocks_count}, wanted at most {info.block_limit}: the image's end",
        )
    inodes = info.group_count * superblock.s_inodes_per_group
    if superblock.s_inodes_count != inodes:
        context.add("superblock", "superblock", f"s_inodes_count: found {superblock.s_inodes_count}, wanted {inodes}")


def check_groups(context: CheckContext) -> None:
    """Compare the blocks and inodes in use with bitmaps and counts of groups and superblock."""
    used = _used_once(context)
    free_blocks = free_inodes = 0
    used_inodes = sorted({*context.links, *range(1, context.info.first_ino)})
    for group in context.groups:
        in_group = _clipped(used, context, group)
        if group in context.bad_groups:
            continue
        free_blocks += _check_blocks(context, group, in_group)
        free_inodes += _check_inodes(context, group, used_inodes)
    if context.bad_groups or len(context.groups) < context.info.group_count:
        return
    superblock = context.info.superblock
    for name, found, wanted in (
        ("s_free_blocks_count", superblock.s_free_blocks_count, free_blocks),
        ("s_free_inodes_count", superblock.s_free_inodes_count, free_inodes),
    ):
        if found != wanted:
            context.add("count", "superblock", f"{name}: found {found}, wanted {wanted}")


def _fixed_uses(context: CheckContext) -> Iterator[BlockUse]:
    """Yield the blocks of superblock copies, descriptors, bitmaps and inode tables."""
    info, superblock = context.info, context.info.superblock
    per_block = info.block_size_bytes // GROUP_DESC.size
    table_length = descriptor_blocks(info.group_count, info.block_size_bytes)
    meta_bg = bool(superblock.s_feature_incompat & Incompat.META_BG)
    in_one_piece = min(table_length, superblock.s_first_meta_bg) if meta_bg else table_length
    reserved_blocks = 0 if meta_bg else superblock.s_reserved_gdt_blocks
    for group in context.groups:
        first = group_first_block(info, group)
        if group == 0 and not superblock.s_first_data_block:
            first = SUPERBLOCK_OFFSET // info.block_size_bytes
        own = has_super(info, group)
        if own:
            yield BlockUse(first, 1, f"group {group}'s superblock")
        if meta_bg and group // per_block >= superblock.s_first_meta_bg:
            if group % per_block in (0, 1, per_block - 1)[:_META_GROUP_COPIES]:
                yield BlockUse(first + own, 1, f"group {group}'s descriptors")
        elif own:
            yield BlockUse(first + 1, in_one_piece + reserved_blocks, f"group {group}'s descriptors")
        if group not in context.bad_groups:
            descriptor = context.volume.group(group)
            yield BlockUse(descriptor.bg_block_bitmap, 1, f"group {group}'s block bitmap")
            yield BlockUse(descriptor.bg_inode_bitmap, 1, f"group {group}'s inode bitmap")
            yield BlockUse(descriptor.bg_inode_table, table_blocks(info), f"group {group}'s inode table")


def _used_once(context: CheckContext) -> deque[tuple[int, int]]:
    """Return blocks in use as sorted (first, end) without overlap; report blocks that are used twice."""
    merged: list[tuple[int, int]] = []
    last = BlockUse(0, 0, "")  # of those before, the one that ends last
    for use in sorted([*context.uses, *_fixed_uses(context)]):
        first, end = use.first, use.first + use.blocks
        if first < last.first + last.blocks:
            twice = min(end, last.first + last.blocks) - first
            blocks = f"block {first}" if twice == 1 else f"blocks {first}..{first + twice - 1}"
            owners = sorted((last.owner, use.owner))
            context.add("blocks", blocks, f"found in use by {owners[0]} and by {owners[1]}, wanted one owner")
        if end > last.first + last.blocks:
            last = use
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return deque(merged)


def _clipped(used: deque[tuple[int, int]], context: CheckContext, group: int) -> list[tuple[int, int]]:
    """Remove the spans of a group from the front of `used`, which is sorted, and return them."""
    end = group_last_block(context.info, group) + 1
    inside = []
    while used and used[0][0] < end:
        first, last = used[0]
        inside.append((first, min(last, end)))
        if last > end:
            used[0] = (end, last)
            break
        used.popleft()
    return inside


def _check_blocks(context: CheckContext, group: int, used: list[tuple[int, int]]) -> int:
    """Compare a group's block bitmap and count with what is used, and return how many blocks are free."""
    info, descriptor = context.info, context.volume.group(group)
    start = group_first_block(info, group)
    count = group_last_block(info, group) + 1 - start
    wanted = padding_bits(count, info.block_size_bytes)
    for first, end in used:
        wanted |= span_bits(first - start, end - start)
    _compare(context, f"group {group}'s block bitmap", descriptor.bg_block_bitmap, wanted, f"block {start}")
    free = count - sum(end - first for first, end in used)
    found = descriptor.bg_free_blocks_count
    if found != free:
        context.add("count", f"group {group}", f"bg_free_blocks_count: found {found}, wanted {free}")
    return free


def _check_inodes(context: CheckContext, group: int, used_inodes: list[int]) -> int:
    info, descriptor = context.info, context.volume.group(group)
    count = info.superblock.s_inodes_per_group
    start = group * count + 1
    wanted = padding_bits(count, info.block_size_bytes)
    used = used_inodes[bisect_left(used_inodes, start) : bisect_left(used_inodes, start + count)]
    for number in used:
        wanted |= 1 << number - start
    _compare(context, f"group {group}'s inode bitmap", descriptor.bg_inode_bitmap, wanted, f"inode {start}")
    directories = sum(S_IFMT(context.modes.get(number, 0)) == S_IFDIR for number in used)
    for name, found, right in (
        ("bg_free_inodes_count", descriptor.bg_free_inodes_count, count - len(used)),
        ("bg_used_dirs_count", descriptor.bg_used_dirs_count, directories),
    ):
        if found != right:
            context.add("count", f"group {group}", f"{name}: found {found}, wanted {right}")
    return count - len(used)


def _compare(context: CheckContext, where: str, block: int, wanted: int, first: str) -> None:
    info = context.info
    found = load_bitmap(info.source.bytes_at(block * info.block_size_bytes, info.block_size_bytes))
    for bits, what in ((wanted & ~found, "free but in use"), (found & ~wanted, "in use but free")):
        if bits:
            lowest = (bits & -bits).bit_length() - 1
            context.add(
                "bitmap", where, f"found {bits.bit_count()} bits that say {what}, the lowest {lowest} after {first}"
            )
