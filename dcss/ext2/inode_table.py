"""Inodes in memory: one object for each number while references to it exist (the kernel's inode cache, iget)."""

from collections.abc import Callable
from functools import partial
from sys import getrefcount
from weakref import ref

from dcss.abi.ext2 import GroupDesc
from dcss.ext2.inode import Inode, clear_slot, read_inode, write_inode
from dcss.ext2.oldest import drop_oldest
from dcss.ext2.super import SbInfo


class InodeTable:
    """The inodes of a volume that are in memory: recently read ones, dirty ones, and those referenced elsewhere.

    A clean inode without references is evicted at the latest when `slots` others were read after it.
    """

    __slots__ = ("_dirty", "_group", "_held", "_info", "_slots", "recent")

    def __init__(self, info: SbInfo, group: Callable[[int], GroupDesc], slots: int) -> None:
        """Keep at most `slots` clean inodes that are not referenced elsewhere; `group` returns a group's descriptor."""
        self._info = info
        self._group = group
        self._slots = slots
        self.recent: dict[int, Inode] = {}  # to look at, not to change
        self._held: dict[int, ref[Inode]] = {}  # evicted from `recent`, but referenced elsewhere
        self._dirty: dict[int, Inode] = {}

    def __len__(self) -> int:
        """Inodes in memory."""
        return len(self.recent | self._held)

    @property
    def dirty(self) -> int:
        """Inodes that were changed and are not written yet."""
        return len(self._dirty)

    def get(self, number: int) -> Inode:
        """Return an inode that is in use; read it if it is not in memory. Damage: Ext2FormatError."""
        return self.recent.get(number) or self._load(number)

    def _load(self, number: int) -> Inode:
        held = self._held.get(number)
        inode = (held() if held is not None else None) or read_inode(self._info, self._group, number)
        if len(self.recent) >= self._slots:
            self._evict()
        self.recent[number] = inode
        return inode

    def _evict(self) -> None:
        """Evict the inodes that were read longest ago; keep weak references to those that are referenced elsewhere."""
        evicted = drop_oldest(self.recent)
        while evicted:
            number, inode = evicted.pop()
            if getrefcount(inode) > _UNREFERENCED:  # made only where needed: it costs as much as reading an inode
                self._held[number] = ref(inode, partial(_forget, self._held, number))

    def mark_dirty(self, inode: Inode) -> None:
        """Keep a changed inode until `write_dirty` or `write` has written it."""
        inode.dirty = True
        self._dirty[inode.number] = inode

    def add(self, inode: Inode) -> None:
        """Take in an inode that was just made; its entry on the device is zeroed."""
        clear_slot(self._info, self._group, inode.number)
        self._held.pop(inode.number, None)
        if len(self.recent) >= self._slots:
            self._evict()
        self.recent[inode.number] = inode
        self.mark_dirty(inode)

    def remove(self, inode: Inode) -> None:
        """Write an inode that was deleted, and forget it: its number may soon be another file's."""
        self.mark_dirty(inode)
        self.write(inode)
        self.recent.pop(inode.number, None)
        self._held.pop(inode.number, None)

    def write(self, inode: Inode) -> None:
        """Write one inode if it is dirty. Raises KernelError(EROFS)."""
        if inode.dirty:
            write_inode(self._info, self._group, inode)
            inode.dirty = False
            del self._dirty[inode.number]

    def write_dirty(self) -> None:
        """Write every dirty inode, in order of number. Raises KernelError(EROFS)."""
        for number in sorted(self._dirty):
            self.write(self._dirty[number])

    def forget_clean(self) -> None:
        """Drop all clean inodes; the next `get` reads from the device, into a new object."""
        self.recent = dict(self._dirty)
        self._held.clear()


def _forget(held: dict[int, ref[Inode]], number: int, _reference: ref[Inode]) -> None:
    held.pop(number, None)


def _count_unreferenced() -> int:
    """Return getrefcount of an object that only a local variable refers to."""
    probe = object()
    return getrefcount(probe)


_UNREFERENCED = _count_unreferenced()
