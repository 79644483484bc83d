"""The inode table's entries: struct ext2_inode for every node."""

import os
import stat
from typing import Final

from dcss.abi.ext2 import BLOCK_POINTERS, N_BLOCKS, RAW_INODE
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.mkfs.numbering import InodePlan, clamp_time
from dcss.ext2.mkfs.tree import TreeFile, TreeSpecial, TreeSymlink

FAST_SYMLINK_BYTES: Final = BLOCK_POINTERS.size  # a shorter target stands in the inode itself
_SECTORS_PER_BLOCK: Final = BLOCK_SIZE_BYTES // 512
_NO_POINTERS: Final = bytes(BLOCK_POINTERS.size)


def pack_inode(inode: InodePlan, size_bytes: int, blocks: int, pointers: bytes, xattr_block: int) -> bytes:
    """Return the 128 bytes of `inode`; `blocks` counts all of its data and indirect blocks.

    All three times are the source's mtime: ctime and atime are the host's own and would differ between copies.
    """
    attributes = inode.node.attributes
    time = clamp_time(attributes.mtime_s) & 0xFFFFFFFF
    return RAW_INODE.pack(
        attributes.mode,
        attributes.uid & 0xFFFF,
        size_bytes & 0xFFFFFFFF,
        time,
        time,
        time,
        0,
        attributes.gid & 0xFFFF,
        inode.links,
        (blocks + bool(xattr_block)) * _SECTORS_PER_BLOCK,
        0,
        0,
        pointers,
        0,
        xattr_block,
        size_bytes >> 32 if isinstance(inode.node, TreeFile) else 0,
        0,
        0,
        0,
        0,
        attributes.uid >> 16,
        attributes.gid >> 16,
        0,
    )


def in_inode(node: TreeSymlink | TreeSpecial) -> bytes:
    """Return what i_block holds of a node without blocks: a short link's target, or a device's number."""
    if isinstance(node, TreeSymlink):
        return node.target.ljust(FAST_SYMLINK_BYTES, b"\0")
    if stat.S_IFMT(node.attributes.mode) not in (stat.S_IFCHR, stat.S_IFBLK):
        return _NO_POINTERS
    pointers = [0] * N_BLOCKS
    major, minor = os.major(node.rdev), os.minor(node.rdev)
    # old_encode_dev in the first word where it fits, else new_encode_dev in the second (ext2_write_inode).
    if major < 256 and minor < 256:
        pointers[0] = major << 8 | minor
    else:
        pointers[1] = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
    return BLOCK_POINTERS.pack(*pointers)
