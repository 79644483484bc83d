"""Superblocks, group descriptors and bitmaps of a new image."""

from collections.abc import Iterator, Sequence
from typing import Final

from dcss.abi import ext2
from dcss.abi.ext2 import Compat, GroupDesc, Incompat, RoCompat, Superblock
from dcss.ext2.bitmap import padding_bits, span_bits, store_bitmap
from dcss.ext2.groups import is_sparse
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES, BLOCKS_PER_GROUP, INODE_SIZE_BYTES, Geometry
from dcss.ext2.mkfs.layout import Layout
from dcss.ext2.mkfs.numbering import LOST_AND_FOUND_INO

_LOG_BLOCK_SIZE: Final = 2  # 1024 << 2
_NEVER: Final = 0xFFFF


class Groups:
    """Bitmaps and counts of every group of a layout. Of the inodes up to `last_inode` the first are `directories`."""

    def __init__(self, layout: Layout, last_inode: int, directories: int) -> None:
        self._layout = layout
        self._last_inode = last_inode
        self._directories = directories
        self._free: list[list[tuple[int, int]]] = [[] for _ in range(layout.geometry.groups)]
        for first, count in layout.free:  # none crosses into the next group, which begins with metadata
            group, offset = divmod(first, BLOCKS_PER_GROUP)
            self._free[group].append((offset, count))

    def block_bitmap(self, group: int) -> bytes:
        """Return a group's block bitmap; bits past the last block are set."""
        bits = padding_bits(0, BLOCK_SIZE_BYTES)
        for offset, count in self._free[group]:
            bits ^= span_bits(offset, offset + count)
        return store_bitmap(bits, BLOCK_SIZE_BYTES)

    def inode_bitmap(self, group: int) -> bytes:
        """Return a group's inode bitmap; bits past the last inode are set."""
        per_group = self._layout.geometry.inodes_per_group
        used = span_bits(0, self._used_inodes(group))
        return store_bitmap(used | padding_bits(per_group, BLOCK_SIZE_BYTES), BLOCK_SIZE_BYTES)

    def _used_inodes(self, group: int) -> int:
        per_group = self._layout.geometry.inodes_per_group
        return min(max(self._last_inode - group * per_group, 0), per_group)

    def _used_directories(self, group: int) -> int:
        per_group = self._layout.geometry.inodes_per_group
        first, end = group * per_group + 1, (group + 1) * per_group + 1
        others_end = LOST_AND_FOUND_INO + self._directories - 1
        root = first <= ext2.ROOT_INO < end
        return root + max(0, min(end, others_end) - max(first, LOST_AND_FOUND_INO))

    def descriptors(self) -> bytes:
        """Return the group descriptors, in whole blocks."""
        geometry = self._layout.geometry
        packed = bytearray(geometry.descriptor_blocks * BLOCK_SIZE_BYTES)
        for group in range(geometry.groups):
            bitmap = geometry.bitmap_block(group)
            descriptor = GroupDesc(
                bg_block_bitmap=bitmap,
                bg_inode_bitmap=bitmap + 1,
                bg_inode_table=bitmap + 2,
                bg_free_blocks_count=sum(count for _, count in self._free[group]),
                bg_free_inodes_count=geometry.inodes_per_group - self._used_inodes(group),
                bg_used_dirs_count=self._used_directories(group),
                bg_pad=0,
                bg_reserved=bytes(12),
            )
            ext2.GROUP_DESC.pack_into(packed, group * ext2.GROUP_DESC.size, *descriptor)
        return bytes(packed)

    def superblocks(self, digest: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (offset in bytes, 1024 bytes) of each superblock, the first one last; the UUID is made of `digest`."""
        groups = self._layout.geometry.groups
        for group in reversed([group for group in range(groups) if is_sparse(group)]):
            offset = group * BLOCKS_PER_GROUP * BLOCK_SIZE_BYTES or ext2.SUPERBLOCK_OFFSET
            yield offset, ext2.SUPERBLOCK.pack(*self._superblock(group, digest))

    def _superblock(self, group: int, digest: bytes) -> Superblock:
        geometry = self._layout.geometry
        return Superblock(
            s_inodes_count=geometry.inodes,
            s_blocks_count=self._layout.blocks,
            s_r_blocks_count=0,
            s_free_blocks_count=sum(count for _, count in self._layout.free),
            s_free_inodes_count=geometry.inodes - self._last_inode,
            s_first_data_block=0,
            s_log_block_size=_LOG_BLOCK_SIZE,
            s_log_frag_size=_LOG_BLOCK_SIZE,
            s_blocks_per_group=BLOCKS_PER_GROUP,
            s_frags_per_group=BLOCKS_PER_GROUP,
            s_inodes_per_group=geometry.inodes_per_group,
            s_mtime=0,
            s_wtime=0,
            s_mnt_count=0,
            s_max_mnt_count=_NEVER,
            s_magic=ext2.MAGIC,
            s_state=ext2.VALID_FS,
            s_errors=ext2.ERRORS_CONTINUE,
            s_minor_rev_level=0,
            s_lastcheck=0,
            s_checkinterval=0,
            s_creator_os=0,
            s_rev_level=ext2.DYNAMIC_REV,
            s_def_resuid=0,
            s_def_resgid=0,
            s_first_ino=ext2.GOOD_OLD_FIRST_INO,
            s_inode_size=INODE_SIZE_BYTES,
            s_block_group_nr=group,
            s_feature_compat=Compat.EXT_ATTR,
            s_feature_incompat=Incompat.FILETYPE,
            s_feature_ro_compat=RoCompat.SPARSE_SUPER | RoCompat.LARGE_FILE,
            s_uuid=_uuid(digest[:16]),
            s_volume_name=bytes(16),
            s_last_mounted=bytes(64),
            s_algorithm_usage_bitmap=0,
            s_prealloc_blocks=0,
            s_prealloc_dir_blocks=0,
            s_reserved_gdt_blocks=0,
            s_journal_uuid=bytes(16),
            s_journal_inum=0,
            s_journal_dev=0,
            s_last_orphan=0,
            s_hash_seed=_uuid(digest[16:32]),
            s_def_hash_version=ext2.HASH_HALF_MD4,
            s_reserved_char_pad=0,
            s_desc_size=0,
            s_default_mount_opts=ext2.DEFM_XATTR_USER | ext2.DEFM_ACL,  # as mke2fs sets them
            s_first_meta_bg=0,
            s_reserved=bytes(760),
        )


def _uuid(content: bytes) -> bytes:
    """Return 16 bytes as a UUID of version 8 (RFC 9562: custom)."""
    made = bytearray(content)
    made[6] = made[6] & 0x0F | 0x80
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def group_metadata(geometry: Geometry, groups: Groups, table: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (offset in bytes, bytes) of descriptors, bitmaps and the used part of inode tables, in order.

    `table` holds the 128 bytes of every inode from number 1 on.
    """
    descriptors = groups.descriptors()
    for group in range(geometry.groups):
        if is_sparse(group):
            yield (group * BLOCKS_PER_GROUP + 1) * BLOCK_SIZE_BYTES, descriptors
        first, per_group = geometry.bitmap_block(group), geometry.inodes_per_group
        inodes = b"".join(table[group * per_group : (group + 1) * per_group])
        yield first * BLOCK_SIZE_BYTES, groups.block_bitmap(group) + groups.inode_bitmap(group) + inodes
