"""Block groups: their bounds, superblock copies and descriptors (also with meta_bg), checked as in the kernel."""

from collections.abc import Iterator
from itertools import chain
from struct import Struct
from typing import NamedTuple

from dcss.abi.ext2 import (
    BACKUP_BGS,
    BACKUP_BGS_OFFSET,
    GROUP_DESC,
    SUPERBLOCK,
    SUPERBLOCK_OFFSET,
    Compat,
    GroupDesc,
    Incompat,
    RoCompat,
)
from dcss.errors import Ext2FormatError
from dcss.ext2.oldest import drop_oldest
from dcss.ext2.super import Ext2Log, SbInfo

_PLACES = Struct("<III20x")  # bg_block_bitmap, bg_inode_bitmap, bg_inode_table of one descriptor


def group_first_block(info: SbInfo, group: int) -> int:
    """Return the number of a group's first block."""
    return info.superblock.s_first_data_block + group * info.superblock.s_blocks_per_group


def group_last_block(info: SbInfo, group: int) -> int:
    """Return the number of a group's last block; the last group may be short."""
    if group == info.group_count - 1:
        return info.superblock.s_blocks_count - 1
    return group_first_block(info, group) + info.superblock.s_blocks_per_group - 1


def has_super(info: SbInfo, group: int) -> bool:
    """Return whether a group begins with a copy of the superblock.

    As ext2_bg_has_super. sparse_super2, which ext2 does not know, is handled as in e2fsprogs: otherwise the descriptors
    of meta_bg would be read one block off.
    """
    if group == 0:
        return True
    if info.superblock.s_feature_compat & Compat.SPARSE_SUPER2:
        reserved = info.superblock.s_reserved
        return group in BACKUP_BGS.unpack_from(reserved, BACKUP_BGS_OFFSET - (SUPERBLOCK.size - len(reserved)))
    return is_sparse(group) or not info.superblock.s_feature_ro_compat & RoCompat.SPARSE_SUPER


def is_sparse(group: int) -> bool:
    """Return whether a group keeps its copy of the superblock with sparse_super: 0, 1, powers of 3, 5 and 7."""
    return group <= 1 or any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


def descriptor_blocks(group_count: int, block_size_bytes: int) -> int:
    """Return the blocks that the descriptors of so many groups take (s_gdb_count)."""
    return -(-group_count // (block_size_bytes // GROUP_DESC.size))


def descriptor_loc(info: SbInfo, desc_block: int) -> int:
    """Return the block that holds the `desc_block`-th block of the descriptor table."""
    superblock = info.superblock
    if not superblock.s_feature_incompat & Incompat.META_BG or desc_block < superblock.s_first_meta_bg:
        return SUPERBLOCK_OFFSET // info.block_size_bytes + desc_block + 1
    group = desc_block * (info.block_size_bytes // GROUP_DESC.size)
    return group_first_block(info, group) + has_super(info, group)


def table_blocks(info: SbInfo) -> int:
    """Return the blocks of a group's inode table, as the kernel counts them (s_itb_per_group)."""
    return info.superblock.s_inodes_per_group // (info.block_size_bytes // info.inode_size_bytes)


def overhead_blocks(info: SbInfo) -> int:
    """Return the blocks of metadata of all groups: superblocks, descriptors, bitmaps, inode tables (ext2_statfs)."""
    descriptors = descriptor_blocks(info.group_count, info.block_size_bytes)
    copies = sum(has_super(info, group) for group in range(info.group_count))
    first = info.superblock.s_first_data_block
    return first + copies * (1 + descriptors) + info.group_count * (2 + table_blocks(info))


class GroupTable:
    """Group descriptors, read when they are needed and kept until they are written or evicted."""

    __slots__ = ("_dirty", "_info", "_recent", "_slots")

    def __init__(self, info: SbInfo, slots: int) -> None:
        """At most `slots` clean descriptors are kept."""
        self._info = info
        self._slots = slots
        self._recent: dict[int, GroupDesc] = {}
        self._dirty: dict[int, GroupDesc] = {}

    def __len__(self) -> int:
        """Descriptors in memory."""
        return len(self._recent | self._dirty)

    @property
    def dirty(self) -> int:
        """Descriptors that were changed and are not written yet."""
        return len(self._dirty)

    def get(self, group: int) -> GroupDesc:
        """Return one group's descriptor, checked. Damage: Ext2FormatError."""
        return self._recent.get(group) or self._load(group)

    def _load(self, group: int) -> GroupDesc:
        desc = self._dirty.get(group) or group_desc(self._info, group)
        if len(self._recent) >= self._slots:
            drop_oldest(self._recent)
        self._recent[group] = desc
        return desc

    def set(self, group: int, desc: GroupDesc) -> None:
        """Replace a descriptor; `write_dirty` writes it."""
        self._recent.pop(group, None)
        self._dirty[group] = desc

    def write_dirty(self) -> None:
        """Write every changed descriptor into the table that the kernel reads; copies stay as mke2fs left them."""
        for group in sorted(self._dirty):
            self._info.writer().write(_descriptor_offset(self._info, group), GROUP_DESC.pack(*self._dirty[group]))
            del self._dirty[group]

    def forget_clean(self) -> None:
        """Drop all clean descriptors; the next `get` reads from the device."""
        self._recent.clear()


def _descriptor_offset(info: SbInfo, group: int) -> int:
    desc_block, slot = divmod(group, info.block_size_bytes // GROUP_DESC.size)
    return descriptor_loc(info, desc_block) * info.block_size_bytes + slot * GROUP_DESC.size


def group_desc(info: SbInfo, group: int) -> GroupDesc:
    """Read one group's descriptor, checked: it may have changed since the mount. Damage: Ext2FormatError."""
    if not 0 <= group < info.group_count:
        raise info.damaged("block group", "number", group, f"0..{info.group_count - 1}")
    view = info.source.bytes_at(_descriptor_offset(info, group), GROUP_DESC.size)
    desc = GroupDesc._make(GROUP_DESC.unpack(view))
    if fault := _fault(info, group, desc.bg_block_bitmap, desc.bg_inode_bitmap, desc.bg_inode_table):
        raise fault.error
    return desc


def check_descriptors(info: SbInfo, log: Ext2Log) -> None:
    """Check each group's bitmaps and inode table against the group, or refuse the mount as the kernel does.

    Reads the descriptor table and nothing else; a table in one piece is one read.
    """
    blocks_per_group = info.superblock.s_blocks_per_group
    group, first = 0, info.superblock.s_first_data_block
    last = first + blocks_per_group - 1
    last_table = last + 1 - table_blocks(info)
    # A terabyte has thousands of groups: the exact test follows only where the quick one fails, and for the last
    # group, which may be short.
    for view in _tables(info, log):
        for block_bitmap, inode_bitmap, inode_table in _PLACES.iter_unpack(view):
            quick = (
                first <= block_bitmap <= last and first <= inode_bitmap <= last and first <= inode_table <= last_table
            )
            if (not quick or group == info.group_count - 1) and (
                fault := _fault(info, group, block_bitmap, inode_bitmap, inode_table)
            ):
                log.line("err", f"error: ext2_check_descriptors: {fault.message}")
                log.refuse("group descriptors corrupted", cause=fault.error)
            group += 1
            first += blocks_per_group
            last += blocks_per_group
            last_table += blocks_per_group


class _Fault(NamedTuple):
    message: str
    error: Ext2FormatError


def _fault(info: SbInfo, group: int, block_bitmap: int, inode_bitmap: int, inode_table: int) -> _Fault | None:
    first, last = group_first_block(info, group), group_last_block(info, group)
    for field, name, block, blocks in (
        ("bg_block_bitmap", "Block bitmap", block_bitmap, 1),
        ("bg_inode_bitmap", "Inode bitmap", inode_bitmap, 1),
        ("bg_inode_table", "Inode table", inode_table, table_blocks(info)),
    ):
        if not (first <= block and block + blocks - 1 <= last):
            error = info.damaged(
                f"descriptor of group {group}", field, f"block {block}", f"{first}..{last - blocks + 1}"
            )
            return _Fault(f"{name} for group {group} not in group (block {block})!", error)
    return None


def _tables(info: SbInfo, log: Ext2Log) -> Iterator[memoryview]:
    """Yield the descriptor table in as few contiguous pieces as possible, up to the last group."""
    per_block = info.block_size_bytes // GROUP_DESC.size
    in_one_piece = info.group_count
    if info.superblock.s_feature_incompat & Incompat.META_BG:
        in_one_piece = min(in_one_piece, info.superblock.s_first_meta_bg * per_block)
    pieces = [(0, in_one_piece)] if in_one_piece else []
    starts = range(in_one_piece, info.group_count, per_block)
    try:
        for start, count in chain(pieces, ((start, min(per_block, info.group_count - start)) for start in starts)):
            offset = descriptor_loc(info, start // per_block) * info.block_size_bytes
            yield info.source.bytes_at(offset, count * GROUP_DESC.size)
    except Ext2FormatError as error:
        log.refuse("error: unable to read group descriptors", cause=error)
