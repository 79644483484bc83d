"""What ext4 adds to ext2 on disk: extent trees in place of block numbers, and descriptors with 64-bit block numbers.

Source: Documentation/filesystems/ext4/ifork.rst and group_descr.rst of Linux. Everything is little-endian.
"""

from typing import Final, NamedTuple

from dcss.abi.layout import U16, U32, struct_of

EXTENT_MAGIC: Final = 0xF30A
EXTENT_MOST_DEPTH: Final = 5
EXTENT_UNWRITTEN: Final = 32768  # an extent of more blocks than this is this much shorter, and reads as zeros
INODE_TABLE_HI_OFFSET: Final = 0x28  # in a group descriptor of 64 bytes: the upper half of bg_inode_table


class ExtentHeader(NamedTuple):
    """struct ext4_extent_header, in i_block or at the start of a block."""

    eh_magic: U16
    eh_entries: U16
    eh_max: U16
    eh_depth: U16  # 0: the entries are extents, else indexes
    eh_generation: U32


class Extent(NamedTuple):
    """struct ext4_extent: a run of blocks of a file."""

    ee_block: U32
    ee_len: U16
    ee_start_hi: U16
    ee_start_lo: U32


class ExtentIndex(NamedTuple):
    """struct ext4_extent_idx: a block with more entries."""

    ei_block: U32
    ei_leaf_lo: U32
    ei_leaf_hi: U16
    ei_unused: U16


EXTENT_HEADER: Final = struct_of(ExtentHeader, "<")
EXTENT: Final = struct_of(Extent, "<")
EXTENT_INDEX: Final = struct_of(ExtentIndex, "<")
