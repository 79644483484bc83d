"""Entries of a new image's inode table."""

import os
from stat import S_IFBLK, S_IFCHR, S_IFMT
from typing import Final

from dcss.abi.ext2 import BLOCK_POINTERS, N_BLOCKS, RAW_INODE, SECTOR_SIZE, RawInode
from dcss.ext2.inode import Inode, device_pointers, encode
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.mkfs.numbering import InodePlan, clamp_time
from dcss.ext2.mkfs.tree import TreeSpecial, TreeSymlink

FAST_SYMLINK_BYTES: Final = BLOCK_POINTERS.size  # a shorter target is kept in the inode itself
NO_POINTERS: Final = (0,) * N_BLOCKS
BLANK_INODE: Final = bytes(RAW_INODE.size)
_SECTORS_PER_BLOCK: Final = BLOCK_SIZE_BYTES // SECTOR_SIZE
_BLANK: Final = RawInode._make(RAW_INODE.unpack(BLANK_INODE))


def pack_inode(plan: InodePlan, size_bytes: int, blocks: int, pointers: tuple[int, ...], xattr_block: int) -> bytes:
    """Return the 128 bytes of an inode; `blocks` counts all of its data and indirect blocks.

    All three times are the source's mtime: ctime and atime are the host's own and would differ between copies.
    """
    attributes = plan.node.attributes
    time = clamp_time(attributes.mtime_s)
    inode = Inode(
        number=plan.number,
        mode=attributes.mode,
        uid=attributes.uid,
        gid=attributes.gid,
        size_bytes=size_bytes,
        atime=time,
        ctime=time,
        mtime=time,
        dtime=0,
        links_count=plan.links,
        blocks_512=(blocks + bool(xattr_block)) * _SECTORS_PER_BLOCK,
        flags=0,
        generation=0,
        file_acl=xattr_block,
        block_pointers=pointers,
        is_fast_symlink=isinstance(plan.node, TreeSymlink) and not blocks,
    )
    return RAW_INODE.pack(*encode(inode, _BLANK, has_wide_owners=True))


def pointers_without_blocks(node: TreeSymlink | TreeSpecial) -> tuple[int, ...]:
    """Return what i_block holds of a node without blocks: a short link's target, or a device's number."""
    if isinstance(node, TreeSymlink):
        return BLOCK_POINTERS.unpack(node.target.ljust(FAST_SYMLINK_BYTES, b"\0"))
    if S_IFMT(node.attributes.mode) not in (S_IFCHR, S_IFBLK):
        return NO_POINTERS
    return device_pointers(os.major(node.rdev), os.minor(node.rdev))
