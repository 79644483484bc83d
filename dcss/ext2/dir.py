"""Directories: entries in linear order, checked as ext2_check_page does, and a compact index for repeated lookups."""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from errno import ENAMETOOLONG, ENOTDIR
from typing import NamedTuple
from zlib import crc32

from dcss.abi.ext2 import DIR_ENTRY_HEAD, DIR_ROUND_BYTES, NAME_LEN
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.indirect import runs
from dcss.ext2.inode import Inode
from dcss.ext2.super import SbInfo

HEAD_BYTES = DIR_ENTRY_HEAD.size
MIN_REC_LEN = 12  # EXT2_DIR_REC_LEN(1)
INDEX_BYTES = 4 << 20  # bound on all indexes of a volume
_INDEX_OVERHEAD_BYTES = 256  # of one index, for the bound
_ADDRESS_BITS = 42  # of a device of 2**44 bytes, in units of 4 bytes
_WORD_MASK = (1 << 64) - 1


class DirEntry(NamedTuple):
    """One name in a directory. `file_type` is DirFileType's number, 0 where the volume does not store it."""

    inode: int
    file_type: int
    name: bytes


def entries(info: SbInfo, directory: Inode) -> Iterator[DirEntry]:
    """Yield the entries in use, "." and ".." among them, in the order they lie in.

    Not a directory: KernelError(ENOTDIR). Damage: Ext2FormatError, which names directory, offset and field.
    """
    for _address, number, file_type, name in _scan(info, directory):
        yield DirEntry(number, file_type, name)


def _scan(info: SbInfo, directory: Inode) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield address on the device in bytes, inode number, type and name of each entry in use."""
    max_inode = info.superblock.s_inodes_count
    block_size_bytes = info.block_size_bytes
    type_mask = 0xFF if info.has_filetype else 0
    unpack = DIR_ENTRY_HEAD.unpack_from
    offset = 0
    for address in _block_addresses(info, directory):
        view = info.source.bytes_at(address, block_size_bytes)
        at = 0
        while at <= block_size_bytes - MIN_REC_LEN:
            number, rec_len, name_len, file_type = unpack(view, at)
            if (
                rec_len < MIN_REC_LEN
                or rec_len & (DIR_ROUND_BYTES - 1)
                or rec_len < HEAD_BYTES + name_len
                or at + rec_len > block_size_bytes
                or number > max_inode
            ):
                raise _bad_entry(info, directory, offset + at, at, (number, rec_len, name_len))
            if number:
                name = view[at + HEAD_BYTES : at + HEAD_BYTES + name_len].tobytes()
                if not name or b"/" in name or b"\0" in name:
                    where = f"directory inode {directory.number}, entry at offset {offset + at}"
                    raise info.damaged(where, "name", name, "at least one byte, and no / or NUL in it")
                yield address + at, number, file_type & type_mask, name
            at += rec_len
        if at != block_size_bytes:
            where = f"directory inode {directory.number}"
            raise info.damaged(where, "entries end at offset", offset + at, offset + block_size_bytes)
        offset += block_size_bytes


def _block_addresses(info: SbInfo, directory: Inode) -> Iterator[int]:
    """Yield where the directory's blocks lie on the device, in bytes; a hole or a block met twice is damage."""
    if not directory.is_dir:
        raise KernelError(ENOTDIR, f"inode {directory.number}: mode {directory.mode:#o}, not a directory")
    where = f"directory inode {directory.number}"
    if directory.size_bytes % info.block_size_bytes:
        raise info.damaged(where, "i_size", directory.size_bytes, f"a multiple of {info.block_size_bytes} bytes")
    seen: set[int] = set()
    for run in runs(info, directory, 0, None):
        if run.disk_block == 0:
            raise info.damaged(where, f"file block {run.file_block}", "a hole", "a block")
        for block in range(run.disk_block, run.disk_block + run.blocks):
            if block in seen:
                raise info.damaged(where, "i_block", f"block {block} twice", "each block once")
            seen.add(block)
            yield block * info.block_size_bytes


def _bad_entry(info: SbInfo, directory: Inode, offset: int, at: int, head: tuple[int, int, int]) -> Ext2FormatError:
    """Say what is wrong with an entry in the kernel's words (ext2_check_page)."""
    number, rec_len, name_len = head
    if rec_len < MIN_REC_LEN:
        error, wanted = "rec_len is smaller than minimal", f"at least {MIN_REC_LEN}"
    elif rec_len & (DIR_ROUND_BYTES - 1):
        error, wanted = "unaligned directory entry", f"a rec_len that is a multiple of {DIR_ROUND_BYTES}"
    elif rec_len < HEAD_BYTES + name_len:
        error, wanted = "rec_len is too small for name_len", f"a rec_len of at least {HEAD_BYTES + name_len}"
    elif at + rec_len > info.block_size_bytes:
        error, wanted = "directory entry across blocks", f"a rec_len of at most {info.block_size_bytes - at}"
    else:
        error, wanted = "inode out of bounds", f"an inode of at most {info.superblock.s_inodes_count}"
    found = f"offset={offset}, inode={number}, rec_len={rec_len}, name_len={name_len}"
    return info.damaged(f"bad entry in directory #{directory.number}", error, found, wanted)


class NameIndexes:
    """Where names lie: for each directory looked into, a sorted array of hash and address, 8 bytes a name.

    All indexes together stay under `INDEX_BYTES`; the one used longest ago goes first. A directory too large for an
    index is searched in order, as the kernel does. What an index says is checked against the entry itself, so that a
    directory changed since then gives a miss, not a wrong inode.
    """

    __slots__ = ("_bytes", "_indexes")

    def __init__(self) -> None:
        self._indexes: OrderedDict[int, array[int]] = OrderedDict()
        self._bytes = 0

    def clear(self) -> None:
        """Forget every index."""
        self._indexes.clear()
        self._bytes = 0

    def find(self, info: SbInfo, directory: Inode, name: bytes) -> int | None:
        """Return the inode number that `name` has in a directory, or None."""
        if len(name) > NAME_LEN:
            raise KernelError(ENAMETOOLONG, f"a name of {len(name)} bytes, wanted at most {NAME_LEN}")
        index = self._indexes.get(directory.number)
        if index is not None:
            self._indexes.move_to_end(directory.number)
        elif directory.size_bytes // MIN_REC_LEN * 8 < INDEX_BYTES:
            index = self._add(info, directory)
        else:
            return next((number for _, number, _, found in _scan(info, directory) if found == name), None)
        first = crc32(name) << _ADDRESS_BITS & _WORD_MASK
        for at in range(bisect_left(index, first), len(index)):
            if index[at] ^ first >= 1 << _ADDRESS_BITS:
                break
            address = (index[at] ^ first) * DIR_ROUND_BYTES
            number, _, name_len, _ = DIR_ENTRY_HEAD.unpack(info.source.bytes_at(address, HEAD_BYTES))
            if number and name_len == len(name) and info.source.bytes_at(address + HEAD_BYTES, name_len) == name:
                return int(number)
        return None

    def _add(self, info: SbInfo, directory: Inode) -> "array[int]":
        words = (
            crc32(name) << _ADDRESS_BITS & _WORD_MASK | address // DIR_ROUND_BYTES
            for address, _, _, name in _scan(info, directory)
        )
        index = array("Q", sorted(words))
        self._indexes[directory.number] = index
        self._bytes += len(index) * 8 + _INDEX_OVERHEAD_BYTES
        while self._bytes > INDEX_BYTES:
            _, oldest = self._indexes.popitem(last=False)
            self._bytes -= len(oldest) * 8 + _INDEX_OVERHEAD_BYTES
        return index
