"""Checksums that ext4 adds: to group descriptors with uninit_bg, to all metadata with metadata_csum.

Source: lib/ext2fs/csum.c of e2fsprogs. A mount as ext2 does not look at them.
"""

from functools import cache
from itertools import accumulate, repeat
from struct import Struct
from typing import Final

from dcss.abi.ext2 import (
    DIR_ENTRY_HEAD,
    GROUP_CHECKSUMS,
    GROUP_DESC,
    RAW_INODE,
    SUPERBLOCK_CHECKSUM,
    SUPERBLOCK_CHECKSUM_OFFSET,
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE_BYTES,
    DirEntryHead,
    GroupChecksums,
    GroupDesc,
    RawInode,
    RoCompat,
)
from dcss.ext2.super import SbInfo

_CRC32C: Final = 0x82F63B78  # polynomials, with their bits reversed
_CRC16: Final = 0xA001
_START: Final = 0xFFFFFFFF
_LE32, _LE64, _HALF = Struct("<I"), Struct("<Q"), Struct("<H")
_INODE_LOW_AT: Final = 124  # i_checksum_lo, in osd2; 16 bits
_EXTRA_SIZE_AT: Final = 128  # i_extra_isize of a large inode; i_checksum_hi follows it
_INODE_HIGH_AT: Final = 130
_ATTRIBUTES_AT: Final = 16  # h_checksum, the first word of h_reserved
_DIRECTORY_TAIL: Final = Struct("<IHBBI")  # an entry without inode and name, of type 0xDE, with the checksum
_TAIL_TYPE: Final = 0xDE
_INDEX_PLACES: Final = {True: 32, False: 8}  # of limit and count: in the root of an index, in other blocks of it
_INDEX_ENTRY_BYTES: Final = 8


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    def step(value: int, _: int) -> int:
        return value >> 1 ^ (polynomial if value & 1 else 0)

    return tuple(list(accumulate(repeat(0, 8), step, initial=byte))[-1] for byte in range(256))


def crc32c(content: bytes | memoryview, crc: int = _START) -> int:
    """Return the CRC-32C of `content`, as ext2fs_crc32c_le: it is not inverted at the end."""
    table = _table(_CRC32C)
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _crc16(content: bytes | memoryview, crc: int) -> int:
    table = _table(_CRC16)
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


class Checksums:
    """Compares the checksums of a volume's metadata; each method returns True where there is none to compare."""

    def __init__(self, info: SbInfo) -> None:
        self._info = info
        features = info.superblock.s_feature_ro_compat
        self.all_metadata = bool(features & RoCompat.METADATA_CSUM)
        self.descriptors = bool(features & (RoCompat.METADATA_CSUM | RoCompat.GDT_CSUM))
        self._seed = crc32c(info.superblock.s_uuid)

    def superblock_holds(self) -> bool:
        """Compare the superblock's."""
        view = self._info.source.bytes_at(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE_BYTES)
        (found,) = SUPERBLOCK_CHECKSUM.unpack_from(view, SUPERBLOCK_CHECKSUM_OFFSET)
        return not self.all_metadata or found == crc32c(view[:SUPERBLOCK_CHECKSUM_OFFSET])

    def descriptor_holds(self, group: int, descriptor: GroupDesc) -> bool:
        """Compare a group descriptor's."""
        if not self.descriptors:
            return True
        raw = GROUP_DESC.pack(*descriptor)
        head = raw[: -_HALF.size]
        if self.all_metadata:
            wanted = crc32c(head + bytes(_HALF.size), crc32c(_LE32.pack(group), self._seed)) & 0xFFFF
        else:
            wanted = _crc16(self._info.superblock.s_uuid + _LE32.pack(group) + head, 0xFFFF)
        return checksums_of(descriptor).bg_checksum == wanted

    def bitmap_holds(self, content: bytes | memoryview, found: int) -> bool:
        """Compare a bitmap's, of which a descriptor of 32 bytes has the lower half."""
        return not self.all_metadata or crc32c(content, self._seed) & 0xFFFF == found

    def inode_holds(self, number: int, view: memoryview) -> bool:
        """Compare an inode's; `view` is its whole place in the inode table."""
        if not self.all_metadata or not any(view):
            return True
        raw = bytearray(view)
        (found,) = _HALF.unpack_from(raw, _INODE_LOW_AT)
        raw[_INODE_LOW_AT : _INODE_LOW_AT + _HALF.size] = bytes(_HALF.size)
        mask = 0xFFFF
        if len(raw) > RAW_INODE.size and _HALF.unpack_from(raw, _EXTRA_SIZE_AT)[0] >= 2 * _HALF.size:
            found |= _HALF.unpack_from(raw, _INODE_HIGH_AT)[0] << 16
            raw[_INODE_HIGH_AT : _INODE_HIGH_AT + _HALF.size] = bytes(_HALF.size)
            mask = _START
        generation = RawInode._make(RAW_INODE.unpack_from(view)).i_generation
        return bool(crc32c(bytes(raw), self._seed_of(number, generation)) & mask == found)

    def attributes_hold(self, block: int, view: memoryview) -> bool:
        """Compare those of a block of extended attributes."""
        if not self.all_metadata:
            return True
        (found,) = _LE32.unpack_from(view, _ATTRIBUTES_AT)
        after = _ATTRIBUTES_AT + _LE32.size
        content = b"".join((view[:_ATTRIBUTES_AT], bytes(_LE32.size), view[after:]))
        return bool(found == crc32c(content, crc32c(_LE64.pack(block), self._seed)))

    def directory_holds(self, number: int, generation: int, view: memoryview) -> bool:
        """Compare a directory block's: it is in a last entry, or at the end of the entries of an index."""
        if not self.all_metadata:
            return True
        seed = self._seed_of(number, generation)
        tail_at = len(view) - _DIRECTORY_TAIL.size
        inode, rec_len, name_len, kind, found = _DIRECTORY_TAIL.unpack_from(view, tail_at)
        if (inode, rec_len, name_len, kind) == (0, _DIRECTORY_TAIL.size, 0, _TAIL_TYPE) and _reaches(view, tail_at):
            return bool(found == crc32c(view[:tail_at], seed))
        return _index_holds(view, seed)

    def _seed_of(self, number: int, generation: int) -> int:
        return crc32c(_LE32.pack(number) + _LE32.pack(generation), self._seed)


def checksums_of(descriptor: GroupDesc) -> GroupChecksums:
    """Return what ext4 keeps in the reserved bytes of a group descriptor."""
    return GroupChecksums._make(GROUP_CHECKSUMS.unpack(descriptor.bg_reserved))


def _reaches(view: memoryview, wanted: int) -> bool:
    """Say whether entries follow one another up to the byte `wanted`."""
    at = 0
    while at < wanted:
        length = DirEntryHead._make(DIR_ENTRY_HEAD.unpack_from(view, at)).rec_len
        if length < DIR_ENTRY_HEAD.size:
            return False
        at += length
    return at == wanted


def _index_holds(view: memoryview, seed: int) -> bool:
    first = DirEntryHead._make(DIR_ENTRY_HEAD.unpack_from(view)).rec_len
    at = _INDEX_PLACES[first != len(view)]
    limit, count = (_HALF.unpack_from(view, at + offset)[0] for offset in (0, _HALF.size))
    tail_at = at + limit * _INDEX_ENTRY_BYTES
    if count > limit or tail_at + 2 * _LE32.size > len(view):
        return False
    reserved = view[tail_at : tail_at + _LE32.size]
    (found,) = _LE32.unpack_from(view, tail_at + _LE32.size)
    content = view[: at + count * _INDEX_ENTRY_BYTES]
    return bool(found == crc32c(bytes(_LE32.size), crc32c(reserved, crc32c(content, seed))))
