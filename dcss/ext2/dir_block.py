"""A block of a directory: entries of struct ext2_dir_entry_2, parsed and packed (fs/ext2/dir.c of Linux 3.13).

Entries follow one another to the block's very end; the last one's rec_len takes what is left.
"""

from collections.abc import Iterable, Iterator
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK
from typing import Final, NamedTuple

from dcss.abi.ext2 import DIR_ENTRY_HEAD, DIR_ROUND_BYTES, DirFileType
from dcss.errors import Ext2FormatError
from dcss.ext2.super import SbInfo

HEAD_BYTES: Final = DIR_ENTRY_HEAD.size
MIN_REC_LEN: Final = 12  # EXT2_DIR_REC_LEN(1)

_TYPES_BY_MODE: Final = {
    S_IFREG: DirFileType.REG_FILE,
    S_IFDIR: DirFileType.DIR,
    S_IFCHR: DirFileType.CHRDEV,
    S_IFBLK: DirFileType.BLKDEV,
    S_IFIFO: DirFileType.FIFO,
    S_IFSOCK: DirFileType.SOCK,
    S_IFLNK: DirFileType.SYMLINK,
}


class DirEntry(NamedTuple):
    """One name in a directory. `file_type` is DirFileType's number, 0 where the volume does not store it."""

    inode: int
    file_type: int
    name: bytes


def file_type(mode: int) -> DirFileType:
    """Return the type that a directory entry has for an inode of this mode (ext2_type_by_mode)."""
    return _TYPES_BY_MODE.get(S_IFMT(mode), DirFileType.UNKNOWN)


def rec_len(name: bytes) -> int:
    """Return the bytes that an entry for `name` takes at least (EXT2_DIR_REC_LEN)."""
    return entry_bytes(len(name))


def entry_bytes(name_len: int) -> int:
    """Return the bytes that an entry with a name of this length takes at least."""
    return -(-(HEAD_BYTES + name_len) // DIR_ROUND_BYTES) * DIR_ROUND_BYTES


def parse_block(info: SbInfo, directory: int, offset: int, address: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield address on the device in bytes, inode number, type and name of each entry in use.

    The block is at `address` on the device and at `offset` in the directory whose inode number is `directory`. An
    entry that ext2_check_page refuses, or with a name that no file can have: Ext2FormatError.
    """
    size_bytes, max_inode = info.block_size_bytes, info.superblock.s_inodes_count
    view = info.source.bytes_at(address, size_bytes)
    unpack = DIR_ENTRY_HEAD.unpack_from
    at = 0
    while at <= size_bytes - MIN_REC_LEN:
        number, length, name_len, kind = unpack(view, at)
        if (
            length < MIN_REC_LEN
            or length & (DIR_ROUND_BYTES - 1)
            or length < HEAD_BYTES + name_len
            or at + length > size_bytes
            or number > max_inode
        ):
            raise _bad_entry(info, directory, offset, at, (number, length, name_len))
        if number:
            name = view[at + HEAD_BYTES : at + HEAD_BYTES + name_len].tobytes()
            if not name or b"/" in name or b"\0" in name:
                where = f"directory inode {directory}, entry at offset {offset + at}"
                raise info.damaged(where, "name", name, "at least one byte, and no / or NUL in it")
            yield address + at, number, kind, name
        at += length
    if at != size_bytes:
        raise info.damaged(f"directory inode {directory}", "entries end at offset", offset + at, offset + size_bytes)


def _bad_entry(info: SbInfo, directory: int, offset: int, at: int, head: tuple[int, int, int]) -> Ext2FormatError:
    """Return the error for an entry at byte `at` of its block, in the kernel's words (ext2_check_page)."""
    number, length, name_len = head
    if length < MIN_REC_LEN:
        error, wanted = "rec_len is smaller than minimal", f"at least {MIN_REC_LEN}"
    elif length & (DIR_ROUND_BYTES - 1):
        error, wanted = "unaligned directory entry", f"a rec_len that is a multiple of {DIR_ROUND_BYTES}"
    elif length < HEAD_BYTES + name_len:
        error, wanted = "rec_len is too small for name_len", f"a rec_len of at least {HEAD_BYTES + name_len}"
    elif at + length > info.block_size_bytes:
        error, wanted = "directory entry across blocks", f"a rec_len of at most {info.block_size_bytes - at}"
    else:
        error, wanted = "inode out of bounds", f"an inode of at most {info.superblock.s_inodes_count}"
    found = f"offset={offset + at}, inode={number}, rec_len={length}, name_len={name_len}"
    return info.damaged(f"bad entry in directory #{directory}", error, found, wanted)


def pack_entry(block: bytearray | memoryview, at: int, length: int, entry: DirEntry) -> None:
    """Write an entry of `length` bytes into a block."""
    DIR_ENTRY_HEAD.pack_into(block, at, entry.inode, length, len(entry.name), entry.file_type)
    block[at + HEAD_BYTES : at + HEAD_BYTES + len(entry.name)] = entry.name


def pack_blocks(entries: Iterable[DirEntry], block_size_bytes: int, min_bytes: int = 0) -> bytes:
    """Return blocks that hold the entries in order, and then empty blocks up to `min_bytes`."""
    packed = bytearray()
    block, at, last = bytearray(block_size_bytes), 0, 0
    for entry in entries:
        length = rec_len(entry.name)
        if at + length > block_size_bytes:
            _stretch(block, last)
            packed += block
            block, at = bytearray(block_size_bytes), 0
        pack_entry(block, at, length, entry)
        last, at = at, at + length
    _stretch(block, last)
    packed += block
    while len(packed) < min_bytes:
        packed += DIR_ENTRY_HEAD.pack(0, block_size_bytes, 0, 0).ljust(block_size_bytes, b"\0")
    return bytes(packed)


def _stretch(block: bytearray, at: int) -> None:
    """Let the entry at `at` take the rest of the block."""
    number, _, name_len, kind = DIR_ENTRY_HEAD.unpack_from(block, at)
    DIR_ENTRY_HEAD.pack_into(block, at, number, len(block) - at, name_len, kind)
