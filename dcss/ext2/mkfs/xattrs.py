"""Extended attributes of a source as ext2 keeps them, and the block that holds them."""

import os
from collections.abc import Sequence

from dcss.errors import ImageError
from dcss.ext2.acl import acl_to_disk
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.xattr_block import ACL_INDEXES, Xattr, needed_bytes, order, pack_block, split_name

_MAX_NAME_BYTES = 255


def to_disk(xattrs: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[Xattr, ...], tuple[bytes, ...]]:
    """Return attributes as ext2 keeps them, in its order, and the names that it has no index for."""
    kept, unknown = [], []
    for full_name, value in xattrs:
        found = split_name(full_name)
        if found is None:
            unknown.append(full_name)
        else:
            index, name = found
            kept.append(Xattr(index, name, acl_to_disk(value) if index in ACL_INDEXES else value))
    kept.sort(key=order)
    return tuple(kept), tuple(unknown)


def block_for(path: bytes, xattrs: Sequence[Xattr], sharers: int) -> bytes:
    """Return the block that holds `xattrs` for `sharers` inodes. Raises ImageError where they do not fit into one."""
    needed = needed_bytes(xattrs)
    if needed > BLOCK_SIZE_BYTES or any(len(each.name) > _MAX_NAME_BYTES for each in xattrs):
        raise ImageError(
            f"{os.fsdecode(path)}: its extended attributes take {needed} bytes, "
            f"ext2 has one block of {BLOCK_SIZE_BYTES} for them; remove some (setfattr -x)"
        )
    return pack_block(xattrs, sharers, BLOCK_SIZE_BYTES)
