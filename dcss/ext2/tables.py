"""What a mounted volume keeps in memory: superblock, descriptors, inodes, names. Reading and writing share it."""

from stat import S_IFLNK
from typing import NamedTuple

from dcss.abi.ext2 import ROOT_INO
from dcss.ext2.dir import NameIndexes
from dcss.ext2.groups import GroupTable
from dcss.ext2.inode import Inode
from dcss.ext2.inode_table import InodeTable
from dcss.ext2.name_cache import NameCache
from dcss.ext2.super import SbInfo

GROUPS_CACHED = 64
PATH_MAX = 4096
_DOT = ord(".")


class CacheSizes(NamedTuple):
    """How many names and clean inodes are kept: about 250 bytes a name, 700 an inode."""

    names: int = 16384
    inodes: int = 8192


CACHES = CacheSizes()
SMALL_CACHES = CacheSizes(names=512, inodes=256)
"""For a guest, whose memory this project saves: together about 300 KiB when full."""


class VolumeTables:
    """The caches of one volume, all empty to begin with, and all bounded but for what is dirty."""

    __slots__ = ("_holds", "groups", "indexes", "info", "inodes", "names")

    def __init__(self, info: SbInfo, sizes: CacheSizes) -> None:
        # No reference cycle: the device is released as soon as the last reference to the volume goes.
        self.info = info
        self.indexes = NameIndexes()
        self.names = NameCache(sizes.names)
        self.groups = GroupTable(info, GROUPS_CACHED)
        self.inodes = InodeTable(info, self.groups.get, sizes.inodes)
        self._holds: dict[int, tuple[Inode, int]] = {}

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the inode number that `name` has in a directory, or None; KernelError ENOTDIR or ENAMETOOLONG."""
        try:
            return self.names.get(directory.number, name)
        except KeyError:
            number = self.indexes.find(self.info, directory, name)
            self.names.set(directory.number, name, number)
            return number

    def known(self, path: bytes) -> Inode | None:
        """Return what a path leads to where all of it was looked up before, and no link is on the way, else None."""
        if not path or len(path) >= PATH_MAX:
            return None
        names, number = self.names.known, ROOT_INO
        for name in path.split(b"/"):
            if name:
                if name[0] == _DOT:
                    return None  # "." and ".." are for the walk, names that begin so for the sake of speed
                found = names.get((number, name))
                if found is None:
                    return None
                number = found
        inode = self.inodes.recent.get(number)
        if inode is None or inode.mode & 0xF000 == S_IFLNK or (path.endswith(b"/") and not inode.is_dir):
            return None
        return inode

    def hold(self, inode: Inode) -> None:
        """Keep an inode in memory, also when it loses its last name, until `release`."""
        _, count = self._holds.get(inode.number, (inode, 0))
        self._holds[inode.number] = inode, count + 1

    def release(self, number: int) -> bool:
        """End one hold of an inode; return whether it was the last one."""
        inode, count = self._holds.pop(number)
        if count > 1:
            self._holds[number] = inode, count - 1
        return count == 1

    def is_held(self, number: int) -> bool:
        """Return whether somebody holds an inode."""
        return number in self._holds

    def forget_clean(self) -> None:
        """Forget everything read from the device but the superblock; what was changed and not written yet stays."""
        self.groups.forget_clean()
        self.inodes.forget_clean()
        self.names.clear()
        self.indexes.clear()
