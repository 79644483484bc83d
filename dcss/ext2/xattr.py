"""Extended attributes: the block that i_file_acl names (fs/ext2/xattr.c).

ext4 also keeps attributes inside inodes larger than 128 bytes. ext2 does not know them, so they are not shown here
either; mke2fs -d puts attributes there first, unless it is told -I 128.
"""

from struct import Struct

from dcss.abi.ext2 import (
    XATTR_ENTRY_HEAD,
    XATTR_HEADER,
    XATTR_MAGIC,
    XATTR_PREFIXES,
    XattrEntryHead,
    XattrHeader,
    XattrIndex,
)
from dcss.errors import Ext2FormatError
from dcss.ext2.acl import acl_to_xattr
from dcss.ext2.inode import Inode
from dcss.ext2.super import SbInfo

_LAST = Struct("<I")  # four zero bytes end the list
_PAD_BYTES = 4
_ACLS = (XattrIndex.POSIX_ACL_ACCESS, XattrIndex.POSIX_ACL_DEFAULT)
_PREFIXES: dict[int, bytes] = {int(index): prefix for index, prefix in XATTR_PREFIXES.items()}


def xattrs(info: SbInfo, inode: Inode) -> dict[bytes, bytes]:
    """Return full name and value of every attribute, as listxattr(2) and getxattr(2) would give them to root.

    Attributes of an index that ext2 has no handler for are left out, as in the kernel. Damage: Ext2FormatError.
    """
    block = inode.file_acl
    if block == 0:
        return {}
    info.check_block(block, f"inode {inode.number}", "i_file_acl")
    view = info.source.bytes_at(block * info.block_size_bytes, info.block_size_bytes)
    header = XattrHeader._make(XATTR_HEADER.unpack_from(view))
    if header.h_magic != XATTR_MAGIC or header.h_blocks != 1:
        found = f"magic {header.h_magic:#x} with {header.h_blocks} blocks"
        raise _bad_block(info, inode, "header", found, f"magic {XATTR_MAGIC:#x} with 1 block")
    attributes = {}
    at = XATTR_HEADER.size
    while _LAST.unpack_from(view, at) != (0,):
        if at + XATTR_ENTRY_HEAD.size > len(view):
            raise _bad_block(info, inode, "entries", f"an entry at byte {at}", "four zero bytes before the block's end")
        entry = XattrEntryHead._make(XATTR_ENTRY_HEAD.unpack_from(view, at))
        name_at = at + XATTR_ENTRY_HEAD.size
        at = name_at + entry.e_name_len + -entry.e_name_len % _PAD_BYTES
        # The next entry's first word is read before it is known to be one: it must lie inside, too.
        if at + _LAST.size > len(view):
            raise _bad_block(
                info, inode, "e_name_len", f"{entry.e_name_len} at byte {name_at}", "an end inside the block"
            )
        value = _value(info, inode, view, entry)
        prefix = _PREFIXES.get(entry.e_name_index)
        if prefix is not None:
            attributes[prefix + view[name_at : name_at + entry.e_name_len].tobytes()] = value
    return attributes


def _value(info: SbInfo, inode: Inode, view: memoryview, entry: XattrEntryHead) -> bytes:
    start, end = entry.e_value_offs, entry.e_value_offs + entry.e_value_size
    if entry.e_value_block != 0 or end > len(view) or (start < XATTR_HEADER.size and start != end):
        found = f"block {entry.e_value_block}, bytes {start}..{end}"
        raise _bad_block(info, inode, "value", found, f"block 0, bytes inside {XATTR_HEADER.size}..{len(view)}")
    value = view[start:end].tobytes()
    if entry.e_name_index in _ACLS:
        acl = acl_to_xattr(value)
        if acl is None:
            raise _bad_block(info, inode, "access control list", value, "version 1 and whole entries")
        return acl
    return value


def _bad_block(info: SbInfo, inode: Inode, field: str, found: object, wanted: object) -> Ext2FormatError:
    return info.damaged(f"inode {inode.number}: bad block {inode.file_acl}", field, found, wanted)
