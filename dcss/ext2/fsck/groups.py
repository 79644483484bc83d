"""Check that no block is used twice, and that bitmaps and counts agree with what is used."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from stat import S_IFDIR, S_IFMT
from typing import Final

from dcss.abi.ext2 import BG_BLOCK_UNINIT, BG_INODE_UNINIT, GROUP_DESC, SUPERBLOCK_OFFSET, Incompat
from dcss.errors import Ext2FormatError
from dcss.ext2.bitmap import load_bitmap, padding_bits, span_bits
from dcss.ext2.fsck.checksums import checksums_of
from dcss.ext2.fsck.context import BlockUse, CheckContext
from dcss.ext2.groups import descriptor_blocks, group_first_block, group_last_block, has_super, table_blocks

_UNWRITTEN: Final = BG_INODE_UNINIT | BG_BLOCK_UNINIT  # in ext2 the field is padding
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
            flags = descriptor.bg_pad & _UNWRITTEN
            if not context.checksums.descriptor_holds(group, descriptor):
                context.add("group", f"group {group}", "bg_checksum: found another one than the descriptor's")
            elif context.checksums.descriptors:
                context.unwritten[group] = flags
            elif flags:
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
    if not context.checksums.superblock_holds():
        context.add("superblock", "superblock", "s_checksum: found another one than the superblock's")
    inodes = info.group_count * superblock.s_inodes_per_group
    if superblock.s_inodes_count != inodes:
        context.add("superblock", "superblock", f"s_inodes_count: found {superblock.s_inodes_count}, wanted {inodes}")


def check_groups(context: CheckContext) -> None:
    """Compare the blocks and inodes in use with bitmaps and counts of groups and superblock."""
    used, fixed = _used_once(context)
    free_blocks = free_inodes = 0
    used_inodes = sorted({*context.links, *range(1, context.info.first_ino)})
    for group in context.groups:
        in_group, fixed_in_group = _clipped(used, context, group), _clipped(fixed, context, group)
        if group in context.bad_groups:
            continue
        free_blocks += _check_blocks(context, group, in_group, fixed_in_group)
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


def _used_once(context: CheckContext) -> tuple[deque[tuple[int, int]], deque[tuple[int, int]]]:
    """Return the blocks in use, and those of them that groups themselves take; report blocks that are used twice."""
    fixed = sorted(_fixed_uses(context))
    uses = sorted([*context.uses, *fixed])
    last = BlockUse(0, 0, "")  # of those before, the one that ends last
    for use in uses:
        first, end = use.first, use.first + use.blocks
        if first < last.first + last.blocks:
            twice = min(end, last.first + last.blocks) - first
            blocks = f"block {first}" if twice == 1 else f"blocks {first}..{first + twice - 1}"
            owners = sorted((last.owner, use.owner))
            context.add("blocks", blocks, f"found in use by {owners[0]} and by {owners[1]}, wanted one owner")
        if end > last.first + last.blocks:
            last = use
    return _merged(uses), _merged(fixed)


def _merged(uses: list[BlockUse]) -> deque[tuple[int, int]]:
    """Return sorted uses as (first, end) without overlap."""
    merged: deque[tuple[int, int]] = deque()
    for use in uses:
        end = use.first + use.blocks
        if merged and use.first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((use.first, end))
    return merged


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


def _check_blocks(context: CheckContext, group: int, used: list[tuple[int, int]], fixed: list[tuple[int, int]]) -> int:
    """Compare a group's block bitmap and count with what is used, and return how many blocks are free.

    `used` are the spans of blocks in use, `fixed` those of them that the group itself takes.
    """
    info, descriptor = context.info, context.volume.group(group)
    start = group_first_block(info, group)
    count = group_last_block(info, group) + 1 - start
    padding = padding_bits(count, info.block_size_bytes)
    if context.unwritten.get(group, 0) & BG_BLOCK_UNINIT:
        found = padding | _bits(fixed, start)
    else:
        checksum = checksums_of(descriptor).bg_block_bitmap_csum_lo
        found = _read_bitmap(context, descriptor.bg_block_bitmap, info.superblock.s_blocks_per_group, checksum)
    _compare(context, f"group {group}'s block bitmap", found, padding | _bits(used, start), f"block {start}")
    free = count - sum(end - first for first, end in used)
    if descriptor.bg_free_blocks_count != free:
        said = f"bg_free_blocks_count: found {descriptor.bg_free_blocks_count}, wanted {free}"
        context.add("count", f"group {group}", said)
    return free


def _check_inodes(context: CheckContext, group: int, used_inodes: list[int]) -> int:
    info, descriptor = context.info, context.volume.group(group)
    count = info.superblock.s_inodes_per_group
    start = group * count + 1
    padding = padding_bits(count, info.block_size_bytes)
    used = used_inodes[bisect_left(used_inodes, start) : bisect_left(used_inodes, start + count)]
    if context.unwritten.get(group, 0) & BG_INODE_UNINIT:
        found = padding
    else:
        checksum = checksums_of(descriptor).bg_inode_bitmap_csum_lo
        found = _read_bitmap(context, descriptor.bg_inode_bitmap, count, checksum)
    wanted = padding | sum(1 << number - start for number in used)
    _compare(context, f"group {group}'s inode bitmap", found, wanted, f"inode {start}")
    directories = sum(S_IFMT(context.modes.get(number, 0)) == S_IFDIR for number in used)
    for name, counted, right in (
        ("bg_free_inodes_count", descriptor.bg_free_inodes_count, count - len(used)),
        ("bg_used_dirs_count", descriptor.bg_used_dirs_count, directories),
    ):
        if counted != right:
            context.add("count", f"group {group}", f"{name}: found {counted}, wanted {right}")
    return count - len(used)


def _bits(spans: list[tuple[int, int]], start: int) -> int:
    bits = 0
    for first, end in spans:
        bits |= span_bits(first - start, end - start)
    return bits


def _read_bitmap(context: CheckContext, block: int, bits: int, checksum: int) -> int:
    """Return a bitmap, and report it where the checksum of its `bits` bits is another one."""
    info = context.info
    content = info.source.bytes_at(block * info.block_size_bytes, info.block_size_bytes)
    if not context.checksums.bitmap_holds(content[: bits // 8], checksum):
        context.add("bitmap", f"block {block}", "its checksum in the group's descriptor: found another one")
    return load_bitmap(content)


def _compare(context: CheckContext, where: str, found: int, wanted: int, first: str) -> None:
    for bits, what in ((wanted & ~found, "free but in use"), (found & ~wanted, "in use but free")):
        if bits:
            lowest = (bits & -bits).bit_length() - 1
            context.add(
                "bitmap", where, f"found {bits.bit_count()} bits that say {what}, the lowest {lowest} after {first}"
            )
