"""POSIX access control lists: what they allow, what new files inherit, what chmod makes of them (fs/posix_acl.c)."""

from errno import EINVAL
from struct import Struct
from typing import NamedTuple

from dcss.abi.ext2 import ACL_ENTRY, ACL_GROUP, ACL_UNDEFINED_ID, ACL_USER, POSIX_ACL_XATTR_VERSION
from dcss.errors import KernelError
from vmguest.credentials import Credentials

ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
_USER_OBJ, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20
_ORDER = (_USER_OBJ, ACL_USER, _GROUP_OBJ, ACL_GROUP, _MASK, _OTHER)
_VERSION = Struct("<I")


class AclEntry(NamedTuple):
    """One entry: `tag` says for whom, `owner` is a user or group where that needs one, `bits` are rwx."""

    tag: int
    bits: int
    owner: int = ACL_UNDEFINED_ID


Acl = tuple[AclEntry, ...]


def parse(value: bytes) -> Acl:
    """Return the list that an attribute's value is, checked as posix_acl_valid does. Raises KernelError(EINVAL)."""
    if len(value) < _VERSION.size or (len(value) - _VERSION.size) % ACL_ENTRY.size:
        raise KernelError(EINVAL, f"access control list: {len(value)} bytes are no whole entries")
    if _VERSION.unpack_from(value)[0] != POSIX_ACL_XATTR_VERSION:
        raise KernelError(EINVAL, f"access control list: wanted version {POSIX_ACL_XATTR_VERSION}")
    acl = tuple(AclEntry(*entry) for entry in ACL_ENTRY.iter_unpack(value[_VERSION.size :]))
    if acl:
        _check(acl)
    return acl


def _check(acl: Acl) -> None:
    tags = [entry.tag for entry in acl]
    named = {ACL_USER, ACL_GROUP} & set(tags)
    in_order = all(tag in _ORDER for tag in tags) and tags == sorted(tags, key=_ORDER.index)
    once = all(tags.count(tag) == 1 for tag in (_USER_OBJ, _GROUP_OBJ, _OTHER)) and tags.count(_MASK) <= 1
    if not in_order or not once or (named and _MASK not in tags) or any(entry.bits & ~0o7 for entry in acl):
        raise KernelError(EINVAL, f"access control list: entries {acl} make none")


def pack(acl: Acl) -> bytes:
    """Return the value of the attribute that holds a list."""
    return _VERSION.pack(POSIX_ACL_XATTR_VERSION) + b"".join(ACL_ENTRY.pack(*entry) for entry in acl)


def allows(acl: Acl, inode_gid: int, user: Credentials, mask: int) -> bool:
    """Return whether somebody who does not own the file may do what `mask` says (posix_acl_permission)."""
    limit = next((entry.bits for entry in acl if entry.tag == _MASK), 0o7)
    in_a_group = False
    for entry in acl:
        if entry.tag == ACL_USER and entry.owner == user.uid:
            return entry.bits & limit & mask == mask
        if entry.tag in {_GROUP_OBJ, ACL_GROUP} and user.in_group(
            inode_gid if entry.tag == _GROUP_OBJ else entry.owner
        ):
            in_a_group = True
            if entry.bits & mask == mask:
                return limit & mask == mask
        if entry.tag == _OTHER:
            return not in_a_group and entry.bits & mask == mask
    return False


def equivalent_mode(acl: Acl) -> tuple[int, bool]:
    """Return the permission bits that a list shows as, and whether these say all of it (posix_acl_equiv_mode)."""
    bits = {entry.tag: entry.bits for entry in acl}
    group = bits.get(_MASK, bits[_GROUP_OBJ])
    mode = bits[_USER_OBJ] << 6 | group << 3 | bits[_OTHER]
    return mode, set(bits) == {_USER_OBJ, _GROUP_OBJ, _OTHER}


def with_mode(acl: Acl, mode: int) -> Acl:
    """Return a list after chmod: owner, others, and the mask or else the group have its bits (posix_acl_chmod_masq)."""
    group_tag = _MASK if any(entry.tag == _MASK for entry in acl) else _GROUP_OBJ
    bits = {_USER_OBJ: mode >> 6 & 0o7, group_tag: mode >> 3 & 0o7, _OTHER: mode & 0o7}
    return tuple(entry._replace(bits=bits.get(entry.tag, entry.bits)) for entry in acl)


def inherited(default: Acl, mode: int) -> tuple[Acl, int]:
    """Return the list and the permission bits of a new file in a directory with a default list.

    Each has no bit that the other lacks (posix_acl_create_masq); no umask takes part.
    """
    group_tag = _MASK if any(entry.tag == _MASK for entry in default) else _GROUP_OBJ
    shifts = {_USER_OBJ: 6, group_tag: 3, _OTHER: 0}
    acl: list[AclEntry] = []
    for entry in default:
        if entry.tag in shifts:
            entry = entry._replace(bits=entry.bits & mode >> shifts[entry.tag])  # noqa: PLW2901 - the entry as it is kept
        acl.append(entry)
    kept = sum(entry.bits << shifts[entry.tag] for entry in acl if entry.tag in shifts)
    return tuple(acl), mode & ~0o777 | kept
