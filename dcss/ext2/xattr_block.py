"""The block of extended attributes that i_file_acl names: parsed, packed and hashed.

Source: fs/ext2/xattr.c of Linux 3.13. Entries grow from the front, sorted as by ext2_xattr_cmp_entry (index,
length of name, name), values from the end. All inodes that have the same attributes may share one block.
"""

from collections.abc import Callable, Iterator, Sequence
from errno import ENOSPC
from struct import Struct, iter_unpack
from typing import NamedTuple

from dcss.abi.ext2 import (
    XATTR_ENTRY_HEAD,
    XATTR_HEADER,
    XATTR_MAGIC,
    XATTR_PREFIXES,
    XATTR_ROUND_BYTES,
    XattrEntryHead,
    XattrIndex,
)
from dcss.errors import KernelError

ACL_INDEXES = (XattrIndex.POSIX_ACL_ACCESS, XattrIndex.POSIX_ACL_DEFAULT)  # their prefix is the whole name
_PREFIXES: dict[int, bytes] = {int(index): prefix for index, prefix in XATTR_PREFIXES.items()}
_END = Struct("<I")  # four zero bytes end the entries
_MASK = 0xFFFFFFFF


class Xattr(NamedTuple):
    """One attribute as it lies on the disk: `name_index` (an XattrIndex) stands for the prefix of its name."""

    name_index: int
    name: bytes
    value: bytes


def full_name(index: int, name: bytes) -> bytes | None:
    """Return an attribute's name as listxattr(2) gives it, or None for an index that ext2 has no handler for."""
    prefix = _PREFIXES.get(index)
    return None if prefix is None else prefix + name


def split_name(name: bytes) -> tuple[int, bytes] | None:
    """Return the index of a full name and the rest of it, or None for a name that ext2 has no place for."""
    for index, prefix in XATTR_PREFIXES.items():
        if index in ACL_INDEXES:
            if name == prefix:
                return index, b""
        elif name.startswith(prefix) and name != prefix:
            return index, name[len(prefix) :]
    return None


def parse_entries(
    view: memoryview, damaged: Callable[[str, object, object], Exception]
) -> Iterator[tuple[XattrEntryHead, int, bytes]]:
    """Yield each entry's head, the byte its name begins at, and its name.

    An entry that does not lie inside the block raises what `damaged` returns for field, found and wanted.
    """
    at = XATTR_HEADER.size
    while _END.unpack_from(view, at) != (0,):
        if at + XATTR_ENTRY_HEAD.size > len(view):
            raise damaged("entries", f"an entry at byte {at}", "four zero bytes before the block's end")
        head = XattrEntryHead._make(XATTR_ENTRY_HEAD.unpack_from(view, at))
        name_at = at + XATTR_ENTRY_HEAD.size
        at = name_at + _rounded(head.e_name_len)
        # The next entry's first word is read before it is known to be one: it must lie inside, too.
        if at + _END.size > len(view):
            raise damaged("e_name_len", f"{head.e_name_len} at byte {name_at}", "an end inside the block")
        yield head, name_at, view[name_at : name_at + head.e_name_len].tobytes()


def order(xattr: Xattr) -> tuple[int, int, bytes]:
    """Return the key that sorts attributes as ext2 does."""
    return xattr.name_index, len(xattr.name), xattr.name


def needed_bytes(xattrs: Sequence[Xattr]) -> int:
    """Return how much of a block attributes take."""
    entries = sum(XATTR_ENTRY_HEAD.size + _rounded(len(each.name)) + _rounded(len(each.value)) for each in xattrs)
    return XATTR_HEADER.size + entries + _END.size


def pack_block(xattrs: Sequence[Xattr], refcount: int, block_size_bytes: int) -> bytes:
    """Return the block that holds `xattrs`, in order, for `refcount` inodes. Too little room: KernelError(ENOSPC)."""
    needed = needed_bytes(xattrs)
    if needed > block_size_bytes:
        raise KernelError(ENOSPC, f"attributes of {needed} bytes, one block has {block_size_bytes}")
    block = bytearray(block_size_bytes)
    at, value_at, hashes = XATTR_HEADER.size, block_size_bytes, list[int]()
    for index, name, value in xattrs:
        value_at -= _rounded(len(value))
        block[value_at : value_at + len(value)] = value
        hashes.append(entry_hash(name, value))
        XATTR_ENTRY_HEAD.pack_into(block, at, len(name), index, value_at if value else 0, 0, len(value), hashes[-1])
        at += XATTR_ENTRY_HEAD.size
        block[at : at + len(name)] = name
        at += _rounded(len(name))
    XATTR_HEADER.pack_into(block, 0, XATTR_MAGIC, refcount, 1, _block_hash(hashes), bytes(16))
    return bytes(block)


def entry_hash(name: bytes, value: bytes, *, signed: bool = False) -> int:
    """Return e_hash (ext2_xattr_hash_entry): over the name's bytes, then the value's padded words.

    `signed` takes the name as an old kernel on x86 did, where a char has a sign; s390 and newer kernels do not.
    """
    made = 0
    for byte in name:
        made = _rotated(made, 5) ^ (byte - 256 & _MASK if signed and byte > 127 else byte)
    for (word,) in iter_unpack("<I", value.ljust(_rounded(len(value)), b"\0")):
        made = _rotated(made, 16) ^ word
    return made


def _block_hash(hashes: Sequence[int]) -> int:
    """Return h_hash (ext2_xattr_rehash): 0, which is never shared, where the hash of an entry is 0."""
    made = 0
    for each in hashes if all(hashes) else ():
        made = _rotated(made, 16) ^ each
    return made


def _rounded(length: int) -> int:
    return -(-length // XATTR_ROUND_BYTES) * XATTR_ROUND_BYTES


def _rotated(value: int, bits: int) -> int:
    return (value << bits & _MASK) | value >> (32 - bits)
