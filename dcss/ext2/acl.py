"""POSIX access control lists: ext2 stores them shorter than getxattr(2) gives them (fs/ext2/acl.c)."""

from struct import Struct, error

from dcss.abi.ext2 import (
    ACL_ENTRY,
    ACL_ENTRY_SHORT,
    ACL_GROUP,
    ACL_UNDEFINED_ID,
    ACL_USER,
    ACL_VERSION,
    POSIX_ACL_XATTR_VERSION,
)

_VERSION = Struct("<I")


def acl_to_xattr(value: bytes) -> bytes | None:
    """Return the value of system.posix_acl_* as a program sees it, or None for a value that is no ACL."""
    try:
        (version,) = _VERSION.unpack_from(value)
        if version != ACL_VERSION:
            return None
        parts, at = [_VERSION.pack(POSIX_ACL_XATTR_VERSION)], _VERSION.size
        while at < len(value):
            tag, permissions = ACL_ENTRY_SHORT.unpack_from(value, at)
            owner = ACL_UNDEFINED_ID
            if tag in (ACL_USER, ACL_GROUP):
                tag, permissions, owner = ACL_ENTRY.unpack_from(value, at)
                at += ACL_ENTRY.size
            else:
                at += ACL_ENTRY_SHORT.size
            parts.append(ACL_ENTRY.pack(tag, permissions, owner))
    except error:
        return None
    return b"".join(parts)
