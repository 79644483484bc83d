"""Check blocks of extended attributes: reference counts, names and hashes."""

from contextlib import suppress

from dcss.abi.ext2 import XATTR_HEADER, XattrHeader
from dcss.errors import Ext2FormatError
from dcss.ext2.fsck.context import BlockUse, CheckContext
from dcss.ext2.xattr_block import entry_hash, parse_entries


def check_attribute_blocks(context: CheckContext) -> None:
    """Check every attribute block of an inode in use, each once."""
    info = context.info
    for block, sharers in sorted(context.xattr_blocks.items()):
        if not info.superblock.s_first_data_block <= block < info.block_limit:
            continue  # reported where the inode was read
        context.uses.append(BlockUse(block, 1, "attributes"))
        view = info.source.bytes_at(block * info.block_size_bytes, info.block_size_bytes)
        header = XattrHeader._make(XATTR_HEADER.unpack_from(view))
        if header.h_refcount != sharers:
            context.add("xattr", f"block {block}", f"h_refcount: found {header.h_refcount}, wanted {sharers}")
        if not context.checksums.attributes_hold(block, view):
            context.add("xattr", f"block {block}", "h_checksum: found another one than the block's")
        with suppress(Ext2FormatError):  # reported where the inode was read
            _check_entries(context, block, view)


def _check_entries(context: CheckContext, block: int, view: memoryview) -> None:
    where = f"block {block}"
    for head, name_at, name in parse_entries(view, lambda *_: Ext2FormatError(where)):
        if not head.e_name_index or not name or b"\0" in name:
            found = f"found {name!r} of kind {head.e_name_index}, wanted neither empty"
            context.add("xattr", where, f"name at byte {name_at}: {found}")
        value = bytes(view[head.e_value_offs : head.e_value_offs + head.e_value_size])
        wanted = entry_hash(name, value)
        if head.e_hash not in (wanted, entry_hash(name, value, signed=True)):
            context.add("xattr", where, f"e_hash of {name!r}: found {head.e_hash:#x}, wanted {wanted:#x}")
