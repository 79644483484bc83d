"""Allocate and free inodes (fs/ext2/ialloc.c): files beside their directory, directories spread over the groups."""

from errno import ENOSPC
from stat import S_ISDIR

from dcss.abi.ext2 import ROOT_INO
from dcss.errors import KernelError
from dcss.ext2.bitmap import find_clear, load_bitmap, store_bitmap
from dcss.ext2.groups import GroupTable
from dcss.ext2.inode import check_number
from dcss.ext2.super import SbInfo


class InodeAllocator:
    """The free inodes of one volume."""

    __slots__ = ("_groups", "_info")

    def __init__(self, info: SbInfo, groups: GroupTable) -> None:
        self._info = info
        self._groups = groups

    def allocate(self, directory: int, mode: int) -> int:
        """Take a number for a file of this mode in a directory. Raises KernelError(ENOSPC)."""
        info = self._info
        per_group = info.superblock.s_inodes_per_group
        parent_group = (directory - 1) // per_group
        best = self._best_group(parent_group, directory, mode)
        for step in range(info.group_count):
            group = (best + step) % info.group_count
            bits = self._load(group)
            reserved = max(0, info.first_ino - 1 - group * per_group)
            found = find_clear(bits, reserved, per_group)
            if found is not None and self._groups.get(group).bg_free_inodes_count:
                self._store(group, bits | 1 << found, -1, mode)
                return group * per_group + found + 1
        raise self._full()

    def free(self, number: int, mode: int) -> None:
        """Give back an inode that had this mode. One that is free, or reserved: Ext2FormatError."""
        check_number(self._info, number)
        group, bit = divmod(number - 1, self._info.superblock.s_inodes_per_group)
        bits = self._load(group)
        if not bits >> bit & 1 or number == ROOT_INO:
            raise self._info.damaged("ext2_free_inode", "bit already cleared for inode", number, "an inode in use")
        self._store(group, bits & ~(1 << bit), 1, mode)

    def _best_group(self, parent_group: int, directory: int, mode: int) -> int:
        """Return the group to begin with (find_group_orlov and find_group_other, without their hash of chance)."""
        info, get = self._info, self._groups.get
        if not info.superblock.s_free_inodes_count:
            raise self._full()
        order = range(parent_group, parent_group + info.group_count)
        groups = (group % info.group_count for group in order)
        if not S_ISDIR(mode):
            near = (group for group in groups if get(group).bg_free_inodes_count and get(group).bg_free_blocks_count)
            return next(near, parent_group)
        inodes = info.superblock.s_free_inodes_count // info.group_count
        blocks = info.superblock.s_free_blocks_count // info.group_count
        roomy = [
            group
            for group in groups
            if get(group).bg_free_inodes_count >= inodes and get(group).bg_free_blocks_count >= blocks
        ]
        if directory == ROOT_INO:  # directories of the root are spread: the group with the fewest
            return min(roomy, key=lambda group: get(group).bg_used_dirs_count, default=parent_group)
        return roomy[0] if roomy else parent_group

    def _load(self, group: int) -> int:
        size_bytes = self._info.block_size_bytes
        return load_bitmap(self._info.source.bytes_at(self._groups.get(group).bg_inode_bitmap * size_bytes, size_bytes))

    def _store(self, group: int, bits: int, freed: int, mode: int) -> None:
        """Write a group's bitmap, and count `freed` inodes more, or fewer where that is negative."""
        info, desc = self._info, self._groups.get(group)
        info.writer().write(desc.bg_inode_bitmap * info.block_size_bytes, store_bitmap(bits, info.block_size_bytes))
        directories = desc.bg_used_dirs_count - (freed if S_ISDIR(mode) else 0)
        free = desc.bg_free_inodes_count + freed
        self._groups.set(
            group, desc._replace(bg_free_inodes_count=free & 0xFFFF, bg_used_dirs_count=directories & 0xFFFF)
        )
        info.superblock = info.superblock._replace(s_free_inodes_count=info.superblock.s_free_inodes_count + freed)
        info.superblock_dirty = True

    def _full(self) -> KernelError:
        return KernelError(ENOSPC, f"{self._info.device}: no space left: no free inode")
