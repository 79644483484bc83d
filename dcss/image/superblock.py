"""Look at the superblock of what may be an ext2 file system, without mounting it."""

from typing import Final

from dcss.abi.ext2 import MAGIC, SUPERBLOCK, SUPERBLOCK_OFFSET, Superblock
from dcss.ext2.source import BlockSource

_LARGEST_LOG_BLOCK_SIZE: Final = 6  # 64 KiB; other content does not have magic and size right by chance


def read(source: BlockSource, offset: int, length: int) -> bytes:
    """Return `length` bytes at `offset`, or fewer at the end."""
    here = max(0, min(length, source.size_bytes - offset))
    return bytes(source.bytes_at(offset, here)) if here else b""


def superblock_at(source: BlockSource, offset: int = 0) -> Superblock | None:
    """Return the superblock of a file system that begins at `offset`, or None where there is none, or not whole."""
    found = read(source, offset + SUPERBLOCK_OFFSET, SUPERBLOCK.size)
    return parse_superblock(found) if len(found) == SUPERBLOCK.size else None


def parse_superblock(content: bytes) -> Superblock | None:
    """Return the superblock in `content`, or None where it has another magic or no possible block size."""
    superblock = Superblock._make(SUPERBLOCK.unpack(content))
    possible = superblock.s_magic == MAGIC and superblock.s_log_block_size <= _LARGEST_LOG_BLOCK_SIZE
    return superblock if possible else None


def file_system_bytes(superblock: Superblock) -> int:
    """Return how long the file system is."""
    return superblock.s_blocks_count * block_bytes(superblock)


def block_bytes(superblock: Superblock) -> int:
    """Return how long a block is."""
    return 1024 << superblock.s_log_block_size
