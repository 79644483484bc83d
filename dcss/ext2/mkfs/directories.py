"""Directories of a new image: entries in order of name after . and .."""

from typing import Final

from dcss.abi.ext2 import DirFileType
from dcss.ext2.dir_block import DirEntry, file_type, pack_blocks
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.mkfs.numbering import LOST_AND_FOUND_INO, InodePlan, Numbering
from dcss.ext2.mkfs.tree import TreeDirectory

LOST_AND_FOUND_BYTES: Final = 16384  # as mke2fs makes it: e2fsck must not need new blocks to put files there


def pack_directory(inode: InodePlan, numbering: Numbering) -> bytes:
    """Return the blocks of a directory."""
    directory = inode.node
    assert isinstance(directory, TreeDirectory)
    numbers = numbering.numbers
    entries = [DirEntry(inode.number, DirFileType.DIR, b"."), DirEntry(inode.parent, DirFileType.DIR, b"..")]
    for name, node in directory.entries.items():
        entries.append(DirEntry(numbers[node], file_type(node.attributes.mode), name))
    min_bytes = LOST_AND_FOUND_BYTES if inode.number == LOST_AND_FOUND_INO else 0
    return pack_blocks(entries, BLOCK_SIZE_BYTES, min_bytes)
