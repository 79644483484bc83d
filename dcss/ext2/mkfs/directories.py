"""Directory blocks: entries of struct ext2_dir_entry_2, packed in order of name after . and .."""

import stat
from typing import Final, NamedTuple

from dcss.abi.ext2 import DIR_ENTRY_HEAD, DIR_ROUND_BYTES, DirFileType
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.mkfs.numbering import LOST_AND_FOUND_INO, InodePlan, Numbering
from dcss.ext2.mkfs.tree import TreeDirectory, TreeNode

LOST_AND_FOUND_BYTES: Final = 16384  # as mke2fs makes it: e2fsck must not need new blocks to put files there

_FILE_TYPES: Final = {
    stat.S_IFREG: DirFileType.REG_FILE,
    stat.S_IFDIR: DirFileType.DIR,
    stat.S_IFCHR: DirFileType.CHRDEV,
    stat.S_IFBLK: DirFileType.BLKDEV,
    stat.S_IFIFO: DirFileType.FIFO,
    stat.S_IFSOCK: DirFileType.SOCK,
    stat.S_IFLNK: DirFileType.SYMLINK,
}


class Entry(NamedTuple):
    """One directory entry."""

    name: bytes
    inode: int
    file_type: int


def file_type(node: TreeNode) -> int:
    """Return what a directory entry says of the node's type."""
    return _FILE_TYPES[stat.S_IFMT(node.attributes.mode)]


def pack_directory(inode: InodePlan, numbering: Numbering) -> bytes:
    """Return the blocks of a directory."""
    directory = inode.node
    assert isinstance(directory, TreeDirectory)
    numbers = numbering.numbers
    entries = [Entry(b".", inode.number, DirFileType.DIR), Entry(b"..", inode.parent, DirFileType.DIR)]
    for name, node in directory.entries.items():
        entries.append(Entry(name, numbers[node], file_type(node)))
    return pack_entries(entries, LOST_AND_FOUND_BYTES if inode.number == LOST_AND_FOUND_INO else 0)


def pack_entries(entries: list[Entry], min_bytes: int) -> bytes:
    """Return the entries in blocks, none across a block's end, with empty blocks up to `min_bytes`."""
    head = DIR_ENTRY_HEAD
    packed = bytearray()
    block = bytearray(BLOCK_SIZE_BYTES)
    at = last = 0
    for name, number, kind in entries:
        length = -(-(head.size + len(name)) // DIR_ROUND_BYTES) * DIR_ROUND_BYTES
        if at + length > BLOCK_SIZE_BYTES:
            packed += _ended(block, last)
            block = bytearray(BLOCK_SIZE_BYTES)
            at = 0
        head.pack_into(block, at, number, length, len(name), kind)
        block[at + head.size : at + head.size + len(name)] = name
        last, at = at, at + length
    packed += _ended(block, last)
    while len(packed) < min_bytes:
        packed += head.pack(0, BLOCK_SIZE_BYTES, 0, 0).ljust(BLOCK_SIZE_BYTES, b"\0")
    return bytes(packed)


def _ended(block: bytearray, last: int) -> bytearray:
    """Stretch the entry at `last` to the block's end."""
    number, _, name_length, kind = DIR_ENTRY_HEAD.unpack_from(block, last)
    DIR_ENTRY_HEAD.pack_into(block, last, number, BLOCK_SIZE_BYTES - last, name_length, kind)
    return block
