"""Which pages of a disk image hold data of files, if ext2, ext3 or ext4 lies in it, and which the file system's own.

A kernel that mounts such an image keeps the file system's own blocks in buffers, also where it uses files in place.
What is read here decides how a copy is called, and nothing else: damage makes pages the file system's own.
"""

import os
import stat
from collections.abc import Iterator

import numpy as np

from dcss.abi.ext2 import (
    BLOCK_POINTERS,
    GROUP_DESC,
    IND_BLOCK,
    MAGIC,
    NDIR_BLOCKS,
    RAW_INODE,
    SUPERBLOCK,
    SUPERBLOCK_OFFSET,
    GroupDesc,
    Incompat,
    InodeFlag,
    RawInode,
    RoCompat,
    Superblock,
)
from dcss.abi.ext4 import (
    EXTENT,
    EXTENT_HEADER,
    EXTENT_INDEX,
    EXTENT_MAGIC,
    EXTENT_MOST_DEPTH,
    EXTENT_UNWRITTEN,
    INODE_TABLE_HI_OFFSET,
    Extent,
    ExtentHeader,
    ExtentIndex,
)
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.pagemap import Flags, runs_of
from dcss.host.partitions import partition_table

_UNREAD = Incompat.META_BG | Incompat.COMPRESSION | Incompat.JOURNAL_DEV | Incompat.ENCRYPT
_LOG_PAGE = PAGE_SHIFT - 10  # of s_log_block_size
_FIRST_INODE = 11  # below are the journal and others that are the file system's own
_KIND = 0o170000  # of i_mode: what sort of file it is

_Runs = Iterator[tuple[int, int]]


def own_runs(descriptor: int, pages: int) -> tuple[tuple[int, int], ...]:
    """Return the runs of pages (first page, pages) that are no data of files; none where it is no such image.

    Where a file system begins at byte 0, all else is its own; in a disk with partitions so is what lies between them,
    as the tables do. A partition with anything else may be full of data.
    """
    data = _file_data(_Image(descriptor, 0, pages))
    if data is None:
        data = _data_in_partitions(descriptor, pages)
    return () if data is None else tuple(runs_of(np.flatnonzero(~data)))


def _data_in_partitions(descriptor: int, pages: int) -> Flags | None:
    """Return which pages of a disk may be data of files; None where no partition of it has a file system to read."""
    disk = _Image(descriptor, 0, pages)
    table = partition_table(disk.read)
    data: Flags = np.zeros(pages, np.bool_)
    any_read = False
    for first_byte, size_bytes in () if table is None else table.partitions:
        first, end = first_byte // PAGE_SIZE, min(-(-(first_byte + size_bytes) // PAGE_SIZE), pages)
        # Blocks that do not begin with pages cannot be mapped in place.
        aligned = first_byte % PAGE_SIZE == 0
        found = _file_data(_Image(descriptor, first, end - first)) if aligned and first < end else None
        any_read |= found is not None
        data[first:end] |= True if found is None else found
    return data if any_read else None


def _file_data(image: "_Image") -> Flags | None:
    """Return which pages of an image are data of files; None where there is no file system to read."""
    superblock = image.superblock()
    if superblock is None:
        return None
    data: Flags = np.zeros(image.pages, np.bool_)
    for inode in image.regular_files(superblock):
        for first, count in image.runs(inode):
            data[first : first + count] = True
    return data


class _Image:
    """An image that may be damaged: nothing behind its end is read, and no block of pointers twice.

    It has `pages` of the file behind `descriptor`, from page `first_page` on.
    """

    def __init__(self, descriptor: int, first_page: int, pages: int) -> None:
        self.pages = pages
        self._descriptor, self._first_byte, self._size_bytes = descriptor, first_page * PAGE_SIZE, pages * PAGE_SIZE
        self._walked: set[int] = set()

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes of the image from an offset on, or fewer at its end."""
        here = min(size_bytes, self._size_bytes - offset)
        return os.pread(self._descriptor, here, self._first_byte + offset) if here > 0 else b""

    def superblock(self) -> Superblock | None:
        """Return the superblock of a file system whose blocks are pages; None where there is none to read."""
        head = self._read(0, PAGE_SIZE)[SUPERBLOCK_OFFSET : SUPERBLOCK_OFFSET + SUPERBLOCK.size]
        if len(head) < SUPERBLOCK.size:
            return None
        found = Superblock._make(SUPERBLOCK.unpack(head))
        if found.s_magic != MAGIC or found.s_log_block_size != _LOG_PAGE or not found.s_blocks_per_group:
            return None
        foreign = found.s_feature_incompat & _UNREAD or found.s_feature_ro_compat & RoCompat.BIGALLOC
        steps = found.s_inode_size >= RAW_INODE.size and not found.s_inode_size % 2
        return found if steps and not foreign else None

    def regular_files(self, superblock: Superblock) -> Iterator[RawInode]:
        """Yield the inodes of files, without those of the file system itself."""
        wide = bool(superblock.s_feature_incompat & Incompat.SIXTY_FOUR_BIT)
        size_bytes = max(superblock.s_desc_size if wide else 0, GROUP_DESC.size)
        groups = -(-superblock.s_blocks_count // superblock.s_blocks_per_group)
        descriptors = self._read(1, groups * size_bytes)
        for group in range(len(descriptors) // size_bytes):
            entry = descriptors[group * size_bytes : (group + 1) * size_bytes]
            table = GroupDesc._make(GROUP_DESC.unpack_from(entry)).bg_inode_table
            if wide:
                table |= int.from_bytes(entry[INODE_TABLE_HI_OFFSET : INODE_TABLE_HI_OFFSET + 4], "little") << 32
            yield from self._table_files(superblock, table, group * superblock.s_inodes_per_group + 1)

    def runs(self, inode: RawInode) -> _Runs:
        """Yield the runs of blocks (first block, blocks) of a file."""
        if inode.i_flags & InodeFlag.EXTENTS:
            yield from self._extents(inode.i_block, EXTENT_MOST_DEPTH)
            return
        pointers = BLOCK_POINTERS.unpack(inode.i_block)
        yield from ((block, 1) for block in pointers[:NDIR_BLOCKS] if block)
        for depth, block in enumerate(pointers[IND_BLOCK:], 1):
            yield from self._indirect(block, depth)

    def _table_files(self, superblock: Superblock, table: int, first_inode: int) -> Iterator[RawInode]:
        step = superblock.s_inode_size
        content = self._read(table, superblock.s_inodes_per_group * step)
        content = content[: len(content) // step * step]
        modes = np.frombuffer(content, "<u2")[:: step // 2]
        for place in np.flatnonzero(modes & _KIND == stat.S_IFREG).tolist():
            inode = RawInode._make(RAW_INODE.unpack_from(content, place * step))
            in_use = first_inode + place >= _FIRST_INODE and inode.i_links_count
            if in_use and not inode.i_flags & InodeFlag.INLINE_DATA:
                yield inode

    def _extents(self, node: bytes, most_depth: int) -> _Runs:
        if len(node) < EXTENT_HEADER.size:
            return
        header = ExtentHeader._make(EXTENT_HEADER.unpack_from(node))
        if header.eh_magic != EXTENT_MAGIC or header.eh_depth > most_depth:
            return
        entries = min(header.eh_entries, (len(node) - EXTENT_HEADER.size) // EXTENT.size)
        for offset in range(EXTENT_HEADER.size, EXTENT_HEADER.size + entries * EXTENT.size, EXTENT.size):
            if header.eh_depth:
                index = ExtentIndex._make(EXTENT_INDEX.unpack_from(node, offset))
                child = self._pointers(index.ei_leaf_hi << 32 | index.ei_leaf_lo)
                yield from self._extents(child, header.eh_depth - 1)
            else:
                extent = Extent._make(EXTENT.unpack_from(node, offset))
                count = extent.ee_len - (EXTENT_UNWRITTEN if extent.ee_len > EXTENT_UNWRITTEN else 0)
                yield extent.ee_start_hi << 32 | extent.ee_start_lo, count

    def _indirect(self, block: int, depth: int) -> _Runs:
        pointers = np.frombuffer(self._pointers(block), "<u4")
        for each in pointers[pointers != 0].tolist():
            if depth == 1:
                yield each, 1
            else:
                yield from self._indirect(each, depth - 1)

    def _pointers(self, block: int) -> bytes:
        """Return a block of pointers; nothing where there is none, and where it was read before."""
        if not block or block in self._walked:
            return b""
        self._walked.add(block)
        content = self._read(block, PAGE_SIZE)
        return content if len(content) == PAGE_SIZE else b""

    def _read(self, block: int, size_bytes: int) -> bytes:
        return self.read(block * PAGE_SIZE, size_bytes)
