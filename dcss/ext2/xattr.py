"""Extended attributes of an inode, from the block that i_file_acl names (fs/ext2/xattr.c).

ext4 also keeps attributes inside inodes larger than 128 bytes. ext2 does not know them, so they are not shown here
either; mke2fs -d puts attributes there first, unless it is told -I 128.
"""

from functools import partial

from dcss.abi.ext2 import XATTR_HEADER, XATTR_MAGIC, XattrEntryHead, XattrHeader
from dcss.errors import Ext2FormatError
from dcss.ext2.acl import acl_from_disk
from dcss.ext2.inode import Inode
from dcss.ext2.super import SbInfo
from dcss.ext2.xattr_block import ACL_INDEXES, Xattr, full_name, parse_entries


def xattrs(info: SbInfo, inode: Inode) -> dict[bytes, bytes]:
    """Return full name and value of every attribute, as listxattr(2) and getxattr(2) would give them to root.

    Attributes of an index that ext2 has no handler for are left out, as in the kernel. Damage: Ext2FormatError.
    """
    attributes = {}
    for each in raw_xattrs(info, inode):
        name = full_name(each.name_index, each.name)
        if name is None:
            continue
        value = acl_from_disk(each.value) if each.name_index in ACL_INDEXES else each.value
        if value is None:
            raise _bad_block(info, inode, "access control list", each.value, "version 1 and whole entries")
        attributes[name] = value
    return attributes


def raw_xattrs(info: SbInfo, inode: Inode) -> list[Xattr]:
    """Return every attribute as it lies on the disk. Damage: Ext2FormatError."""
    block = inode.file_acl
    if block == 0:
        return []
    info.check_block(block, f"inode {inode.number}", "i_file_acl")
    view = info.source.bytes_at(block * info.block_size_bytes, info.block_size_bytes)
    header = XattrHeader._make(XATTR_HEADER.unpack_from(view))
    if header.h_magic != XATTR_MAGIC or header.h_blocks != 1:
        found = f"magic {header.h_magic:#x} with {header.h_blocks} blocks"
        raise _bad_block(info, inode, "header", found, f"magic {XATTR_MAGIC:#x} with 1 block")
    damaged = partial(_bad_block, info, inode)
    return [
        Xattr(head.e_name_index, short_name, _value(info, inode, view, head))
        for head, _, short_name in parse_entries(view, damaged)
    ]


def _value(info: SbInfo, inode: Inode, view: memoryview, head: XattrEntryHead) -> bytes:
    start, end = head.e_value_offs, head.e_value_offs + head.e_value_size
    if head.e_value_block != 0 or end > len(view) or (start < XATTR_HEADER.size and start != end):
        found = f"block {head.e_value_block}, bytes {start}..{end}"
        raise _bad_block(info, inode, "value", found, f"block 0, bytes inside {XATTR_HEADER.size}..{len(view)}")
    return view[start:end].tobytes()


def _bad_block(info: SbInfo, inode: Inode, field: str, found: object, wanted: object) -> Ext2FormatError:
    return info.damaged(f"inode {inode.number}: bad block {inode.file_acl}", field, found, wanted)
