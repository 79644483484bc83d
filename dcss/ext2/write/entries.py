"""Make and remove names in directories (fs/ext2/dir.c): an entry takes a gap, and leaves one to the entry before it."""

from collections import deque
from errno import EFBIG, ENOENT
from time import time
from typing import NamedTuple

from dcss.abi.ext2 import DIR_ENTRY_HEAD, DIR_ROUND_BYTES, InodeFlag
from dcss.errors import KernelError
from dcss.ext2.dir import entries
from dcss.ext2.dir_block import (
    HEAD_BYTES,
    MIN_REC_LEN,
    DirEntry,
    entry_bytes,
    file_type,
    pack_entry,
    parse_block,
    rec_len,
)
from dcss.ext2.indirect import get_block
from dcss.ext2.inode import Inode
from dcss.ext2.oldest import drop_oldest
from dcss.ext2.tables import VolumeTables
from dcss.ext2.write.balloc import BlockAllocator
from dcss.ext2.write.fill import fill_holes

_MAX_DIRECTORY_BYTES = 1 << 32  # i_size of a directory has 32 bits
_HINTS_KEPT = 64


class _Room(NamedTuple):
    """Where a new entry goes: behind the one at byte `at` of a block, or in its place where that is unused."""

    block_index: int
    address: int  # of the block on the device, in bytes
    at: int
    length: int  # rec_len of the entry at `at`; 0 for a block that was just added to the directory


class DirectoryWriter:
    """Changes to the directories of one volume.

    `_hints` says, for directories that grew lately and by the bytes of an entry, where the search for room may begin:
    in front of that block and byte there is none. So a directory that is filled is not searched as a whole each time.
    """

    __slots__ = ("_allocator", "_hints", "_tables")

    def __init__(self, tables: VolumeTables, allocator: BlockAllocator) -> None:
        self._tables = tables
        self._allocator = allocator
        self._hints: dict[int, dict[int, tuple[int, int]]] = {}

    def add(self, directory: Inode, name: bytes, number: int, mode: int) -> None:
        """Add a name that is not there yet (ext2_add_link). Raises KernelError: ENOSPC, EFBIG."""
        info = self._tables.info
        kind = self._kind(mode)
        entry, needed = DirEntry(number, kind, name), rec_len(name)
        room = self._room(directory, needed)
        at, length, used = room.at, room.length or info.block_size_bytes, 0
        packed = bytearray()
        if room.length:
            holder, _, name_len, holder_kind = DIR_ENTRY_HEAD.unpack(
                info.source.bytes_at(room.address + at, HEAD_BYTES)
            )
            if holder:  # it keeps what it needs, and the new entry gets the rest
                used = entry_bytes(name_len)
                packed = bytearray(info.source.bytes_at(room.address + at, used))
                DIR_ENTRY_HEAD.pack_into(packed, 0, holder, used, name_len, holder_kind)
        packed += bytes(HEAD_BYTES + len(name))
        pack_entry(packed, used, length - used, entry)
        info.writer().write(room.address + at, bytes(packed))
        self._tables.names.set(directory.number, name, number)
        self._tables.indexes.add(directory.number, name, room.address + at + used)
        self._remember(directory.number, needed, (room.block_index, at + used))
        self._touch(directory)

    def remove(self, directory: Inode, name: bytes) -> None:
        """Remove a name (ext2_delete_entry). Raises KernelError(ENOENT)."""
        info = self._tables.info
        address, _ = self._place(directory, name)
        block_address = address - address % info.block_size_bytes
        view = info.source.bytes_at(block_address, info.block_size_bytes)
        at, before = 0, None
        while block_address + at < address:
            before = at
            at += self._length_at(directory, view, at)
        if block_address + at != address:
            raise info.damaged(
                f"directory inode {directory.number}", "entries", "one inside another", "one behind another"
            )
        length = self._length_at(directory, view, at)
        _, _, name_len, kind = DIR_ENTRY_HEAD.unpack_from(view, at)
        if before is None:
            head = DIR_ENTRY_HEAD.pack(0, length, name_len, kind)
            info.writer().write(address, head)
        else:
            number, _, before_len, before_kind = DIR_ENTRY_HEAD.unpack_from(view, before)
            # The number goes too, so that what reads this entry by its address sees that it is gone.
            joined = bytearray(view[before : at + HEAD_BYTES])
            DIR_ENTRY_HEAD.pack_into(joined, 0, number, at - before + length, before_len, before_kind)
            DIR_ENTRY_HEAD.pack_into(joined, at - before, 0, length, name_len, kind)
            info.writer().write(block_address + before, bytes(joined))
        self._tables.names.set(directory.number, name, None)
        self._tables.indexes.remove(directory.number, name, address)
        self._hints.pop(directory.number, None)
        self._touch(directory)

    def redirect(self, directory: Inode, name: bytes, number: int, mode: int, *, touch: bool = True) -> None:
        """Have a name that is there lead to another inode (ext2_set_link). Raises KernelError(ENOENT)."""
        info = self._tables.info
        address, _ = self._place(directory, name)
        _, length, name_len, _ = DIR_ENTRY_HEAD.unpack(info.source.bytes_at(address, HEAD_BYTES))
        kind = self._kind(mode)
        info.writer().write(address, DIR_ENTRY_HEAD.pack(number, length, name_len, kind))
        self._tables.names.set(directory.number, name, number)
        if touch:
            self._touch(directory)

    def make_empty(self, inode: Inode, parent: int) -> None:
        """Give a new directory its first block, with "." and ".." in it (ext2_make_empty).

        Raises KernelError(ENOSPC).
        """
        info = self._tables.info
        address = self._grow(inode, 0)
        kind = self._kind(inode.mode)
        block = bytearray(info.block_size_bytes)
        pack_entry(block, 0, MIN_REC_LEN, DirEntry(inode.number, kind, b"."))
        pack_entry(block, MIN_REC_LEN, info.block_size_bytes - MIN_REC_LEN, DirEntry(parent, kind, b".."))
        info.writer().write(address, bytes(block))
        self.forget(inode.number)
        self._tables.names.set(inode.number, b".", inode.number)
        self._tables.names.set(inode.number, b"..", parent)

    def is_empty(self, directory: Inode) -> bool:
        """Return whether a directory holds "." and ".." only (ext2_empty_dir)."""
        return all(entry.name in {b".", b".."} for entry in entries(self._tables.info, directory))

    def forget(self, directory: int) -> None:
        """Drop what is kept of a directory that is gone."""
        self._hints.pop(directory, None)
        self._tables.indexes.forget(directory)

    def _place(self, directory: Inode, name: bytes) -> tuple[int, int]:
        place = self._tables.indexes.place(self._tables.info, directory, name)
        if place is None:
            raise KernelError(ENOENT, f"directory inode {directory.number}: no entry {name!r}")
        return place

    def _kind(self, mode: int) -> int:
        """Return the type that an entry says, 0 on a volume whose entries say none."""
        return int(file_type(mode)) if self._tables.info.has_filetype else 0

    def _room(self, directory: Inode, needed: int) -> _Room:
        """Return where an entry of so many bytes has room, in a new block where there is none."""
        hints = self._hints.get(directory.number, {})
        first, start = max((place for size, place in hints.items() if size <= needed), default=(0, 0))
        count = directory.size_bytes // self._tables.info.block_size_bytes
        for index in range(first, count):
            address = self._address(directory, index)
            found = self._gap(directory, index, address, start, needed)
            if found is not None:
                return _Room(index, address, *found)
            start = 0
        return _Room(count, self._grow(directory, count), 0, 0)

    def _gap(self, directory: Inode, index: int, address: int, at: int, needed: int) -> tuple[int, int] | None:
        """Return byte and rec_len of the first entry from byte `at` of a block on that leaves so many bytes."""
        info = self._tables.info
        size_bytes = info.block_size_bytes
        view, unpack = info.source.bytes_at(address, size_bytes), DIR_ENTRY_HEAD.unpack_from
        while at < size_bytes:
            number, length, name_len, _ = unpack(view, at)
            used = entry_bytes(name_len)
            if length < MIN_REC_LEN or length & 3 or length < used or at + length > size_bytes:
                deque(parse_block(info, directory.number, index * size_bytes, address), 0)  # says what is wrong
                raise info.damaged(f"directory inode {directory.number}", "rec_len", length, f"at least {used}")
            if length >= (used + needed if number else needed):
                return at, length
            at += length
        return None

    def _grow(self, directory: Inode, block_index: int) -> int:
        """Add an empty block to a directory; return its address on the device."""
        info = self._tables.info
        if directory.size_bytes + info.block_size_bytes >= _MAX_DIRECTORY_BYTES:
            raise KernelError(
                EFBIG, f"directory inode {directory.number}: has {directory.size_bytes} bytes, and is full"
            )

        def clear(_file_block: int, first: int, count: int) -> None:
            empty = DIR_ENTRY_HEAD.pack(0, info.block_size_bytes, 0, 0)
            info.writer().write(first * info.block_size_bytes, empty.ljust(count * info.block_size_bytes, b"\0"))

        fill_holes(self._allocator, directory, block_index, 1, clear)
        directory.size_bytes += info.block_size_bytes
        self._tables.inodes.mark_dirty(directory)
        return get_block(info, directory, block_index) * info.block_size_bytes

    def _address(self, directory: Inode, index: int) -> int:
        info = self._tables.info
        block = get_block(info, directory, index)
        if block == 0:
            raise info.damaged(f"directory inode {directory.number}", f"file block {index}", "a hole", "a block")
        return block * info.block_size_bytes

    def _length_at(self, directory: Inode, view: memoryview, at: int) -> int:
        """Return an entry's rec_len, of a block that was checked before; never 0, so that every loop ends."""
        length = int(DIR_ENTRY_HEAD.unpack_from(view, at)[1])
        if length < MIN_REC_LEN or length % DIR_ROUND_BYTES:
            raise self._tables.info.damaged(f"directory inode {directory.number}", "rec_len", length, "12 or more")
        return length

    def _remember(self, directory: int, needed: int, place: tuple[int, int]) -> None:
        if directory not in self._hints and len(self._hints) >= _HINTS_KEPT:
            drop_oldest(self._hints)
        self._hints.setdefault(directory, {})[needed] = place

    def _touch(self, directory: Inode) -> None:
        directory.mtime = directory.ctime = int(time())
        directory.flags &= ~int(InodeFlag.INDEX)
        self._tables.inodes.mark_dirty(directory)
