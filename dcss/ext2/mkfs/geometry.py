"""Block groups of a new image: where the metadata of each lies, and the free blocks between.

Block size 4096 and 32768 blocks a group, as mke2fs has them. A group's superblock copy and descriptors (groups 0, 1 and
powers of 3, 5 and 7: sparse_super), bitmaps and inode table lie at its start, where fs/ext2/super.c expects them.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from dcss.abi import ext2
from dcss.errors import ImageError
from dcss.ext2.groups import descriptor_blocks, is_sparse

BLOCK_SIZE_BYTES: Final = 4096
BLOCKS_PER_GROUP: Final = 8 * BLOCK_SIZE_BYTES
INODE_SIZE_BYTES: Final = ext2.GOOD_OLD_INODE_SIZE_BYTES
INODES_PER_BLOCK: Final = BLOCK_SIZE_BYTES // INODE_SIZE_BYTES
MAX_INODES_PER_GROUP: Final = 8 * BLOCK_SIZE_BYTES
MAX_BLOCKS: Final = (1 << 32) - 1


class Geometry(NamedTuple):
    """How many groups there are, and how many inodes each has."""

    groups: int
    inodes_per_group: int

    @property
    def inodes(self) -> int:
        """Inodes of the file system."""
        return self.groups * self.inodes_per_group

    @property
    def descriptor_blocks(self) -> int:
        """Blocks of one copy of the group descriptors."""
        return descriptor_blocks(self.groups, BLOCK_SIZE_BYTES)

    @property
    def table_blocks(self) -> int:
        """Blocks of a group's inode table."""
        return self.inodes_per_group // INODES_PER_BLOCK

    def bitmap_block(self, group: int) -> int:
        """Return the block of a group's block bitmap; the inode bitmap and the inode table follow."""
        return group * BLOCKS_PER_GROUP + (1 + self.descriptor_blocks if is_sparse(group) else 0)

    def first_free_block(self, group: int) -> int:
        """Return the first block of a group after its metadata."""
        return self.bitmap_block(group) + 2 + self.table_blocks

    def stretches(self, blocks: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield each group's free blocks as (first, end), up to `blocks` in all."""
        for group in range(self.groups):
            end = (group + 1) * BLOCKS_PER_GROUP
            yield self.first_free_block(group), end if blocks is None else min(end, blocks)


def geometry_for(groups: int, inodes: int) -> Geometry:
    """Return `groups` groups with room for `inodes` inodes. Raises ImageError where they cannot hold them."""
    per_group = -(-inodes // (groups * INODES_PER_BLOCK)) * INODES_PER_BLOCK
    if per_group > MAX_INODES_PER_GROUP:
        raise ImageError(
            f"{inodes} inodes: found room for {groups * MAX_INODES_PER_GROUP} in {groups} block groups of 128 MiB; "
            "wanted a larger size (--size)"
        )
    return Geometry(groups, per_group)


def groups_of(blocks: int) -> int:
    """Return how many groups `blocks` blocks make."""
    return -(-blocks // BLOCKS_PER_GROUP)
