"""Read, write and cut the data of a regular file, through the volume's source."""

from errno import EFBIG, EINVAL, EISDIR
from time import time

from dcss.abi.ext2 import DYNAMIC_REV, GOOD_OLD_FIRST_INO, GOOD_OLD_INODE_SIZE_BYTES, RoCompat
from dcss.errors import KernelError
from dcss.ext2.indirect import max_size_bytes, runs
from dcss.ext2.inode import Inode
from dcss.ext2.tables import VolumeTables
from dcss.ext2.write.balloc import BlockAllocator
from dcss.ext2.write.fill import Clear, fill_holes
from dcss.ext2.write.truncate import truncate_blocks

_LARGE_FILE_BYTES = 1 << 31  # from here on the superblock says that there is one


class FileWriter:
    """Changes to the blocks and sizes of one volume's regular files."""

    __slots__ = ("_allocator", "_tables")

    def __init__(self, tables: VolumeTables, allocator: BlockAllocator) -> None:
        self._tables = tables
        self._allocator = allocator

    def fill(self, inode: Inode, first_block: int, count: int, clear: Clear) -> int:
        """Give the holes among file blocks blocks that `clear` has zeroed; return how many from the first on have one.

        Raises KernelError(ENOSPC) where the first one finds no room, EFBIG past what a file can hold.
        """
        limit = max_size_bytes(self._tables.info.block_size_bytes) // self._tables.info.block_size_bytes
        if first_block >= limit:
            raise KernelError(EFBIG, f"inode {inode.number}: file block {first_block}, wanted less than {limit}")
        try:
            return fill_holes(self._allocator, inode, first_block, min(count, limit - first_block), clear)
        finally:
            self._tables.inodes.mark_dirty(inode)

    def set_size(self, inode: Inode, size_bytes: int) -> None:
        """Set i_size and the times of a change; a file of 2 GiB or more makes the superblock say large_file."""
        info = self._tables.info
        inode.size_bytes = size_bytes
        inode.mtime = inode.ctime = int(time())
        self._tables.inodes.mark_dirty(inode)
        superblock = info.superblock
        if size_bytes >= _LARGE_FILE_BYTES and not superblock.s_feature_ro_compat & RoCompat.LARGE_FILE:
            if superblock.s_rev_level < DYNAMIC_REV:  # ext2_update_dynamic_rev
                superblock = superblock._replace(
                    s_rev_level=DYNAMIC_REV, s_first_ino=GOOD_OLD_FIRST_INO, s_inode_size=GOOD_OLD_INODE_SIZE_BYTES
                )
            info.superblock = superblock._replace(
                s_feature_ro_compat=superblock.s_feature_ro_compat | RoCompat.LARGE_FILE
            )
            info.superblock_dirty = True

    def truncate_blocks(self, inode: Inode, size_bytes: int) -> None:
        """Free the blocks behind a size (ext2_truncate_blocks); sizes and the last block's end stay as they are."""
        truncate_blocks(self._allocator, inode, -(-size_bytes // self._tables.info.block_size_bytes))
        self._tables.inodes.mark_dirty(inode)

    def write(self, inode: Inode, position: int, data: bytes | memoryview) -> int:
        """Write data through the source; return how many bytes found room.

        Raises KernelError: ENOSPC, EFBIG, EINVAL, EISDIR.
        """
        info = self._tables.info
        _check_regular(inode)
        if position < 0:
            raise KernelError(EINVAL, f"write at position {position}: wanted no negative number")
        if not data:
            return 0
        size = info.block_size_bytes
        first, end = position // size, position + len(data)

        end_wanted = end

        def clear_edges(file_block: int, block: int, count: int) -> None:
            """Zero new blocks that `data` covers in part only: the first one and the last one, at the most."""
            for edge in {file_block, file_block + count - 1}:
                if edge * size < position or (edge + 1) * size > end_wanted:
                    info.writer().write((block + edge - file_block) * size, bytes(size))

        filled = self.fill(inode, first, -(-end // size) - first, clear_edges)
        end = min(end, (first + filled) * size)
        view = memoryview(data)
        for run in runs(info, inode, first, filled):
            low = max(position, run.file_block * size)
            high = min(end, (run.file_block + run.blocks) * size)
            offset = run.disk_block * size + low - run.file_block * size
            info.writer().write(offset, view[low - position : high - position])
        self.set_size(inode, max(inode.size_bytes, end))
        return end - position

    def truncate(self, inode: Inode, size_bytes: int, *, clear_end: bool = True) -> None:
        """Cut a file, or let it grow by a hole. Raises KernelError: EINVAL, EFBIG, EISDIR.

        Where the last block ends is zeroed, so that a file that grows again shows zeros there; with `clear_end` off the
        caller has done that, in its own copy of the block.
        """
        info = self._tables.info
        _check_regular(inode)
        if size_bytes < 0:
            raise KernelError(EINVAL, f"truncate to {size_bytes} bytes: wanted no negative number")
        if size_bytes > max_size_bytes(info.block_size_bytes):
            raise KernelError(EFBIG, f"inode {inode.number}: {size_bytes} bytes are more than a file can have")
        shrinks = size_bytes < inode.size_bytes
        if clear_end:
            self._clear_end(inode, min(size_bytes, inode.size_bytes))
        self.set_size(inode, size_bytes)
        if shrinks:
            self.truncate_blocks(inode, size_bytes)

    def _clear_end(self, inode: Inode, size_bytes: int) -> None:
        """Zero the rest of the block that a size ends in."""
        info = self._tables.info
        block, offset = divmod(size_bytes, info.block_size_bytes)
        if offset:
            for run in runs(info, inode, block, 1):
                if run.disk_block:
                    rest = bytes(info.block_size_bytes - offset)
                    info.writer().write(run.disk_block * info.block_size_bytes + offset, rest)


def _check_regular(inode: Inode) -> None:
    if not inode.is_regular:
        raise KernelError(EISDIR if inode.is_dir else EINVAL, f"inode {inode.number}: not a regular file")
