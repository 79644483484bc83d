"""Blocks of extended attributes: how many inodes share each, and whether every entry's hash is that of its content."""

from dcss.abi.ext2 import XATTR_ENTRY_HEAD, XATTR_HEADER, XattrEntryHead, XattrHeader
from dcss.ext2.fsck.context import BlockUse, CheckContext
from dcss.ext2.mkfs.xattrs import entry_hash


def check_attribute_blocks(context: CheckContext) -> None:
    """Look at every block that an inode in use names, once."""
    info = context.info
    for block, sharers in sorted(context.xattr_blocks.items()):
        if not info.superblock.s_first_data_block <= block < info.block_limit:
            continue  # noted where the inode was read
        context.uses.append(BlockUse(block, 1, "attributes"))
        view = info.source.bytes_at(block * info.block_size_bytes, info.block_size_bytes)
        header = XattrHeader._make(XATTR_HEADER.unpack_from(view))
        if header.h_refcount != sharers:
            context.add("xattr", f"block {block}", f"h_refcount: found {header.h_refcount}, wanted {sharers}")
        _check_hashes(context, block, view)


def _check_hashes(context: CheckContext, block: int, view: memoryview) -> None:
    at = XATTR_HEADER.size
    while at + XATTR_ENTRY_HEAD.size <= len(view) and any(view[at : at + 4]):
        entry = XattrEntryHead._make(XATTR_ENTRY_HEAD.unpack_from(view, at))
        name_at = at + XATTR_ENTRY_HEAD.size
        name = bytes(view[name_at : name_at + entry.e_name_len])
        if not entry.e_name_index or not name or b"\0" in name:
            context.add(
                "xattr",
                f"block {block}",
                f"name at byte {name_at}: found {name!r} of kind {entry.e_name_index}, wanted neither empty",
            )
        value = bytes(view[entry.e_value_offs : entry.e_value_offs + entry.e_value_size])
        wanted = entry_hash(name, value)
        if entry.e_hash not in (wanted, entry_hash(name, value, signed=True)):
            context.add("xattr", f"block {block}", f"e_hash of {name!r}: found {entry.e_hash:#x}, wanted {wanted:#x}")
        at = name_at + -(-entry.e_name_len // 4) * 4
