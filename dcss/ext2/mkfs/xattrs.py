"""Extended attributes as ext2 keeps them: one block for an inode, shared by all inodes that have the same.

Source: fs/ext2/xattr.c and fs/ext2/acl.h of Linux 3.13. Entries grow from the front in the order of
ext2_xattr_cmp_entry (index, length of name, name), values from the end.
"""

import os
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from dcss.abi.ext2 import XATTR_ENTRY_HEAD, XATTR_HEADER, XATTR_MAGIC, XATTR_PREFIXES, XattrIndex
from dcss.errors import ImageError
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES

MAX_SHARERS: Final = 1024  # EXT2_XATTR_REFCOUNT_MAX
_ROUND_BYTES: Final = 4
_ACLS: Final = frozenset({XattrIndex.POSIX_ACL_ACCESS, XattrIndex.POSIX_ACL_DEFAULT})

# A POSIX ACL: the version, then (tag, permissions) and the id that the tags for one user or group alone have in ext2.
_ACL_XATTR_VERSION: Final = 2
_ACL_EXT2_VERSION: Final = 1
_ACL_VERSION: Final = struct.Struct("<I")
_ACL_XATTR_ENTRY: Final = struct.Struct("<HHI")
_ACL_EXT2_SHORT: Final = struct.Struct("<HH")
_ACL_WITH_ID: Final = frozenset({0x02, 0x08})  # ACL_USER, ACL_GROUP


class Xattr(NamedTuple):
    """One attribute as it lies on the disk."""

    prefix: int  # an XattrIndex
    name: bytes
    value: bytes


def to_disk(xattrs: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[Xattr, ...], tuple[bytes, ...]]:
    """Return attributes as ext2 keeps them, in its order, and the names that it has no index for."""
    kept, unknown = [], []
    for full_name, value in xattrs:
        for index, prefix in XATTR_PREFIXES.items():
            if index in _ACLS and full_name == prefix:
                kept.append(Xattr(index, b"", _acl_to_disk(value)))
                break
            if index not in _ACLS and full_name.startswith(prefix) and full_name != prefix:
                kept.append(Xattr(index, full_name[len(prefix) :], value))
                break
        else:
            unknown.append(full_name)
    kept.sort(key=lambda xattr: (xattr.prefix, len(xattr.name), xattr.name))
    return tuple(kept), tuple(unknown)


def _acl_to_disk(value: bytes) -> bytes:
    version = _ACL_VERSION.unpack_from(value)[0] if len(value) >= _ACL_VERSION.size else None
    if version != _ACL_XATTR_VERSION or (len(value) - _ACL_VERSION.size) % _ACL_XATTR_ENTRY.size:
        raise ValueError(f"an ACL of {len(value)} bytes and version {version}, wanted version {_ACL_XATTR_VERSION}")
    packed = [_ACL_VERSION.pack(_ACL_EXT2_VERSION)]
    for tag, permissions, identity in _ACL_XATTR_ENTRY.iter_unpack(value[_ACL_VERSION.size :]):
        packed.append(
            _ACL_XATTR_ENTRY.pack(tag, permissions, identity)
            if tag in _ACL_WITH_ID
            else _ACL_EXT2_SHORT.pack(tag, permissions)
        )
    return b"".join(packed)


def block_for(path: bytes, xattrs: Sequence[Xattr], sharers: int) -> bytes:
    """Return the block that holds `xattrs` for `sharers` inodes. Raises ImageError where they do not fit into one."""
    needed = XATTR_HEADER.size + XATTR_ENTRY_HEAD.size // 4  # four zero bytes end the entries
    needed += sum(XATTR_ENTRY_HEAD.size + _rounded(len(each.name)) + _rounded(len(each.value)) for each in xattrs)
    too_long = [each.name for each in xattrs if len(each.name) > 255]
    if needed > BLOCK_SIZE_BYTES or too_long:
        raise ImageError(
            f"{os.fsdecode(path)}: its extended attributes take {needed} bytes, "
            f"ext2 has one block of {BLOCK_SIZE_BYTES} for them; remove some (setfattr -x)"
        )
    block = bytearray(BLOCK_SIZE_BYTES)
    at, value_at, hashes = XATTR_HEADER.size, BLOCK_SIZE_BYTES, list[int]()
    for each in xattrs:
        value_at -= _rounded(len(each.value))
        block[value_at : value_at + len(each.value)] = each.value
        offset = value_at if each.value else 0
        hashed = entry_hash(each.name, each.value)
        XATTR_ENTRY_HEAD.pack_into(block, at, len(each.name), each.prefix, offset, 0, len(each.value), hashed)
        at += XATTR_ENTRY_HEAD.size
        block[at : at + len(each.name)] = each.name
        at += _rounded(len(each.name))
        hashes.append(hashed)
    total_hash = 0
    for hashed in hashes if all(hashes) else ():  # ext2_xattr_rehash: the kernel does not share a block with a 0 in it
        total_hash = _rotated(total_hash, 16) ^ hashed
    XATTR_HEADER.pack_into(block, 0, XATTR_MAGIC, sharers, 1, total_hash, bytes(16))
    return bytes(block)


def _rounded(length: int) -> int:
    return -(-length // _ROUND_BYTES) * _ROUND_BYTES


def _rotated(value: int, bits: int) -> int:
    return (value << bits & 0xFFFFFFFF) | value >> (32 - bits)


def entry_hash(name: bytes, value: bytes, *, signed: bool = False) -> int:
    """Return e_hash (ext2_xattr_hash_entry): over the name's bytes, then the value's padded words.

    `signed` takes the name as an old kernel on x86 did, where a char has a sign; s390 and newer kernels do not.
    """
    made = 0
    for byte in name:
        made = _rotated(made, 5) ^ (byte - 256 & 0xFFFFFFFF if signed and byte > 127 else byte)
    for (word,) in struct.iter_unpack("<I", value.ljust(_rounded(len(value)), b"\0")):
        made = _rotated(made, 16) ^ word
    return made
