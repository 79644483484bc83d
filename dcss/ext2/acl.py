"""POSIX access control lists: ext2 stores them shorter than getxattr(2) returns them (fs/ext2/acl.c)."""

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
_TAGS_WITH_ID = (ACL_USER, ACL_GROUP)


def acl_from_disk(value: bytes) -> bytes | None:
    """Return the value of system.posix_acl_* as a program sees it, or None for a value that is no ACL."""
    try:
        (version,) = _VERSION.unpack_from(value)
        if version != ACL_VERSION:
            return None
        packed, at = [_VERSION.pack(POSIX_ACL_XATTR_VERSION)], _VERSION.size
        while at < len(value):
            tag, permissions = ACL_ENTRY_SHORT.unpack_from(value, at)
            if tag in _TAGS_WITH_ID:
                packed.append(ACL_ENTRY.pack(*ACL_ENTRY.unpack_from(value, at)))
                at += ACL_ENTRY.size
            else:
                packed.append(ACL_ENTRY.pack(tag, permissions, ACL_UNDEFINED_ID))
                at += ACL_ENTRY_SHORT.size
    except error:  # an entry is cut short
        return None
    return b"".join(packed)


def acl_to_disk(value: bytes) -> bytes:
    """Return an ACL as ext2 stores it: entries that name no user or group lose their id. Not an ACL: ValueError."""
    version = _VERSION.unpack_from(value)[0] if len(value) >= _VERSION.size else None
    if version != POSIX_ACL_XATTR_VERSION or (len(value) - _VERSION.size) % ACL_ENTRY.size:
        raise ValueError(
            f"an ACL of {len(value)} bytes and version {version}, wanted version {POSIX_ACL_XATTR_VERSION}"
        )
    packed = [_VERSION.pack(ACL_VERSION)]
    for tag, permissions, owner in ACL_ENTRY.iter_unpack(value[_VERSION.size :]):
        has_id = tag in _TAGS_WITH_ID
        packed.append(ACL_ENTRY.pack(tag, permissions, owner) if has_id else ACL_ENTRY_SHORT.pack(tag, permissions))
    return b"".join(packed)
