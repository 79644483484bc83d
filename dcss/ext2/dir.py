"""Directories: entries in linear order, checked as ext2_check_page does, and a compact index for repeated lookups."""

from array import array
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from errno import ENAMETOOLONG, ENOTDIR
from zlib import crc32

from dcss.abi.ext2 import DIR_ENTRY_HEAD, DIR_ROUND_BYTES, NAME_LEN
from dcss.errors import KernelError
from dcss.ext2.dir_block import HEAD_BYTES, MIN_REC_LEN, DirEntry, parse_block
from dcss.ext2.indirect import runs
from dcss.ext2.inode import Inode
from dcss.ext2.super import SbInfo

INDEX_BYTES = 4 << 20  # bound on all indexes of a volume
_INDEX_OVERHEAD_BYTES = 256  # of one index, for the bound
_ADDRESS_BITS = 42  # of a device of 2**44 bytes, in units of 4 bytes
_WORD_MASK = (1 << 64) - 1


def entries(info: SbInfo, directory: Inode) -> Iterator[DirEntry]:
    """Yield the entries in use, including "." and "..", in the order on the device.

    Not a directory: KernelError(ENOTDIR). Damage: Ext2FormatError, which names directory, offset and field.
    """
    type_mask = 0xFF if info.has_filetype else 0
    for offset, address in blocks(info, directory):
        for _, number, file_type, name in parse_block(info, directory.number, offset, address):
            yield DirEntry(number, file_type & type_mask, name)


def blocks(info: SbInfo, directory: Inode) -> Iterator[tuple[int, int]]:
    """Yield offset in the directory and address on the device of its blocks; a hole or a block met twice is damage."""
    if not directory.is_dir:
        raise KernelError(ENOTDIR, f"inode {directory.number}: mode {directory.mode:#o}, not a directory")
    where = f"directory inode {directory.number}"
    if directory.size_bytes % info.block_size_bytes:
        raise info.damaged(where, "i_size", directory.size_bytes, f"a multiple of {info.block_size_bytes} bytes")
    offset = 0
    seen: set[int] = set()
    for run in runs(info, directory, 0, None):
        if run.disk_block == 0:
            raise info.damaged(where, f"file block {run.file_block}", "a hole", "a block")
        for block in range(run.disk_block, run.disk_block + run.blocks):
            if block in seen:
                raise info.damaged(where, "i_block", f"block {block} twice", "each block once")
            seen.add(block)
            yield offset, block * info.block_size_bytes
            offset += info.block_size_bytes


def _names(info: SbInfo, directory: Inode) -> Iterator[tuple[int, int, bytes]]:
    """Yield address on the device, inode number and name of each entry in use."""
    for offset, address in blocks(info, directory):
        for at, number, _, name in parse_block(info, directory.number, offset, address):
            yield at, number, name


class NameIndexes:
    """Indexes of directories: a sorted array of hash and address for each, 8 bytes a name.

    All indexes together stay under `INDEX_BYTES`; the least recently used is dropped first. A directory too large for
    an index is searched in order, as the kernel does. Each hit is checked against the entry itself, so that a directory
    that changed since then gives a miss, not a wrong inode.
    """

    __slots__ = ("_bytes", "_indexes")

    def __init__(self) -> None:
        self._indexes: OrderedDict[int, array[int]] = OrderedDict()
        self._bytes = 0

    def clear(self) -> None:
        """Forget every index."""
        self._indexes.clear()
        self._bytes = 0

    def forget(self, directory: int) -> None:
        """Drop the index of a directory, if it has one."""
        index = self._indexes.pop(directory, None)
        if index is not None:
            self._bytes -= len(index) * 8 + _INDEX_OVERHEAD_BYTES

    def add(self, directory: int, name: bytes, address: int) -> None:
        """Keep the index of a directory right, where it has one: a name was written at an address on the device."""
        index = self._indexes.get(directory)
        if index is not None:
            insort(index, _word(name, address))
            self._bytes += 8

    def remove(self, directory: int, name: bytes, address: int) -> None:
        """Keep the index of a directory right, where it has one: a name at an address was removed."""
        index = self._indexes.get(directory)
        if index is not None:
            at = bisect_left(index, _word(name, address))
            if at < len(index) and index[at] == _word(name, address):
                del index[at]
                self._bytes -= 8

    def find(self, info: SbInfo, directory: Inode, name: bytes) -> int | None:
        """Return the inode number that `name` has in a directory, or None."""
        place = self.place(info, directory, name)
        return None if place is None else place[1]

    def place(self, info: SbInfo, directory: Inode, name: bytes) -> tuple[int, int] | None:
        """Return address on the device and inode number of the entry that `name` has in a directory, or None."""
        if len(name) > NAME_LEN:
            raise KernelError(ENAMETOOLONG, f"a name of {len(name)} bytes, wanted at most {NAME_LEN}")
        index = self._indexes.get(directory.number)
        if index is not None:
            self._indexes.move_to_end(directory.number)
        elif directory.size_bytes // MIN_REC_LEN * 8 < INDEX_BYTES:
            index = self._build(info, directory)
        else:
            return next(((at, number) for at, number, found in _names(info, directory) if found == name), None)
        first = crc32(name) << _ADDRESS_BITS & _WORD_MASK
        for at in range(bisect_left(index, first), len(index)):
            if index[at] ^ first >= 1 << _ADDRESS_BITS:
                break
            address = (index[at] ^ first) * DIR_ROUND_BYTES
            number, _, name_len, _ = DIR_ENTRY_HEAD.unpack(info.source.bytes_at(address, HEAD_BYTES))
            if number and name_len == len(name) and info.source.bytes_at(address + HEAD_BYTES, name_len) == name:
                return address, int(number)
        return None

    def _build(self, info: SbInfo, directory: Inode) -> "array[int]":
        index = array("Q", sorted(_word(name, address) for address, _, name in _names(info, directory)))
        self._indexes[directory.number] = index
        self._bytes += len(index) * 8 + _INDEX_OVERHEAD_BYTES
        while self._bytes > INDEX_BYTES:
            _, oldest = self._indexes.popitem(last=False)
            self._bytes -= len(oldest) * 8 + _INDEX_OVERHEAD_BYTES
        return index


def _word(name: bytes, address: int) -> int:
    """Return what an index has for a name: its hash in the upper bits, its address in units of 4 bytes below."""
    return crc32(name) << _ADDRESS_BITS & _WORD_MASK | address // DIR_ROUND_BYTES
