"""Permissions, owners, times, sizes and extended attributes of what is at a place (fs/attr.c, fs/xattr.c)."""

import os
import stat
from errno import EACCES, EINVAL, EISDIR, EOPNOTSUPP, EPERM, ERANGE
from time import time

from dcss.errors import KernelError
from dcss.ext2.inode import InodeChange
from vmguest.credentials import MAY_READ, MAY_WRITE, Credentials
from vmguest.fs import posix_acl
from vmguest.fs.libfs import PreciseTimes
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs, writer_of
from vmguest.fs.permission import access_list, check, check_owner, may
from vmguest.fs.watch_events import IN_ACCESS, IN_ATTRIB, IN_MODIFY

XATTR_NAME_MAX = 255
_DAY_SECONDS = 86_400


def chmod(vfs: Vfs, dentry: Dentry, mode: int) -> None:
    """Set permission bits. Raises KernelError: EROFS, EPERM for who is not the owner."""
    writer, user = writer_of(dentry), vfs.user
    check_owner(dentry, user)
    if not user.privileged and not user.in_group(dentry.inode.gid):
        mode &= ~stat.S_ISGID
    writer.set_attributes(dentry.inode, InodeChange(mode=mode))
    acl = access_list(dentry, posix_acl.ACCESS)
    if acl:
        writer.set_xattr(dentry.inode, posix_acl.ACCESS, posix_acl.pack(posix_acl.with_mode(acl, mode)))
    vfs.notify(IN_ATTRIB, dentry)


def chown(vfs: Vfs, dentry: Dentry, uid: int | None, gid: int | None) -> None:
    """Set owners; None leaves one as it is. What is no directory loses set-id bits. Raises EROFS, EPERM."""
    writer, user, inode = writer_of(dentry), vfs.user, dentry.inode
    owns = user.uid == inode.uid
    if not user.privileged and not (
        (uid is None or (owns and uid == inode.uid)) and (gid is None or (owns and user.in_group(gid)))
    ):
        raise KernelError(EPERM, f"{os.fsdecode(dentry.path)}: user {user.uid} may not give it away")
    cleared = None if inode.is_dir else _without_set_id(inode.mode)
    if cleared is not None:
        check_owner(dentry, user)
    writer.set_attributes(inode, InodeChange(uid=uid, gid=gid, mode=cleared))
    vfs.notify(IN_ATTRIB, dentry)


def utimens(
    vfs: Vfs,
    dentry: Dentry,
    atime: int | None,
    mtime: int | None,
    *,
    fractions_ns: tuple[int, int] = (0, 0),
    now: bool = False,
) -> None:
    """Set times, in seconds since 1970 and fractions; None leaves one as it is. With `now` whoever may write may do it.

    Raises KernelError: EROFS, EACCES, EPERM.
    """
    writer = writer_of(dentry)
    if not (now and may(dentry, vfs.user, MAY_WRITE)):
        if now and vfs.user.uid != dentry.inode.uid and not vfs.user.privileged:
            raise KernelError(EACCES, f"{os.fsdecode(dentry.path)}: user {vfs.user.uid} may not write it")
        check_owner(dentry, vfs.user)
    writer.set_attributes(dentry.inode, InodeChange(None, None, None, atime, mtime, *fractions_ns))
    vfs.notify(IN_MODIFY if atime is None else IN_ACCESS if mtime is None else IN_ATTRIB, dentry)


def truncate(vfs: Vfs, dentry: Dentry, size_bytes: int) -> None:
    """Cut a file, or let it grow by a hole. Raises KernelError: EINVAL, EISDIR, EROFS, EACCES, EFBIG."""
    if dentry.inode.is_dir:
        raise KernelError(EISDIR, f"{os.fsdecode(dentry.path)}: is a directory")
    if not dentry.inode.is_regular or size_bytes < 0:
        raise KernelError(EINVAL, f"{os.fsdecode(dentry.path)}: wanted a regular file, and no negative size")
    writer = writer_of(dentry)
    check(dentry, vfs.user, MAY_WRITE)
    opened = writer.open_writable(dentry.inode)
    try:
        opened.truncate(size_bytes)
        vfs.notify(IN_MODIFY, dentry)
    finally:
        dentry.mount.file_system.release(dentry.inode)


def get_xattrs(vfs: Vfs, dentry: Dentry) -> dict[bytes, bytes]:
    """Return the extended attributes that a user may see, by name. Raises KernelError(EACCES)."""
    found = dentry.mount.file_system.xattrs(dentry.inode)
    if vfs.user.privileged:
        return found
    readable = may(dentry, vfs.user, MAY_READ)
    return {
        name: value
        for name, value in found.items()
        if not name.startswith(b"trusted.") and (readable or not name.startswith(b"user."))
    }


def set_xattr(
    vfs: Vfs,
    dentry: Dentry,
    name: bytes,
    value: bytes | None,
    *,
    flags: int = 0,
) -> None:
    """Set an extended attribute, or remove it where `value` is None (xattr_permission).

    Raises KernelError: EROFS, EPERM, EACCES, ENODATA, EEXIST, EOPNOTSUPP, ENOSPC.
    """
    if not 0 < len(name) <= XATTR_NAME_MAX:
        raise KernelError(ERANGE, f"attribute name of {len(name)} bytes, wanted 1 to {XATTR_NAME_MAX}")
    writer, inode, user = writer_of(dentry), dentry.inode, vfs.user
    if name.startswith(b"trusted.") and not user.privileged:
        raise KernelError(EPERM, f"{os.fsdecode(dentry.path)}: attributes of trusted. are root's")
    if name.startswith(b"user."):
        if not (inode.is_regular or inode.is_dir):
            raise KernelError(EPERM, f"{os.fsdecode(dentry.path)}: attributes of user. are for files and directories")
        if inode.is_dir and inode.mode & stat.S_ISVTX:
            check_owner(dentry, user)
    if name in {posix_acl.ACCESS, posix_acl.DEFAULT}:
        _set_acl(dentry, user, name, value)
        vfs.notify(IN_ATTRIB, dentry)
        return
    if not name.startswith(b"security."):
        check(dentry, user, MAY_WRITE)
    elif not user.privileged:
        raise KernelError(EPERM, f"{os.fsdecode(dentry.path)}: attributes of security. are root's")
    if name in {b"user.", b"trusted.", b"security."}:
        raise KernelError(EINVAL, f"{os.fsdecode(dentry.path)}: attribute {name!r}: nothing follows the prefix")
    writer.set_xattr(inode, name, value, flags)
    vfs.notify(IN_ATTRIB, dentry)


def _set_acl(dentry: Dentry, user: Credentials, name: bytes, value: bytes | None) -> None:
    """Set an access control list; one that permission bits can say becomes these (ext2_xattr_set_acl)."""
    inode, writer = dentry.inode, writer_of(dentry)
    if not dentry.mount.file_system.has_acl or inode.is_symlink:
        raise KernelError(EOPNOTSUPP, f"{os.fsdecode(dentry.path)}: has no access control lists")
    acl = () if value is None else posix_acl.parse(value)
    if name == posix_acl.DEFAULT and not inode.is_dir:
        if acl:
            raise KernelError(EACCES, f"{os.fsdecode(dentry.path)}: only a directory has a default list")
        return
    check_owner(dentry, user)
    if name == posix_acl.ACCESS and acl:
        mode, whole = posix_acl.equivalent_mode(acl)
        mode |= inode.mode & 0o7000
        if not user.privileged and not user.in_group(inode.gid):
            mode &= ~stat.S_ISGID
        writer.set_attributes(inode, InodeChange(mode=mode))
        acl = () if whole else acl
    if acl:
        writer.set_xattr(inode, name, posix_acl.pack(acl))
    elif name in dentry.mount.file_system.xattrs(inode):
        writer.set_xattr(inode, name, None)


def drop_set_id(dentry: Dentry, vfs: Vfs) -> None:
    """Take set-id bits from a file that somebody else than root changed (file_remove_suid)."""
    inode = dentry.inode
    if inode.mode & (stat.S_ISUID | stat.S_ISGID) and not vfs.user.privileged:
        cleared = _without_set_id(inode.mode)
        if cleared is not None:
            writer_of(dentry).set_attributes(inode, InodeChange(mode=cleared))


def touch_atime(dentry: Dentry) -> None:
    """Set the time of the last read where relatime, Linux's default, has it set: a day old, or older than a change."""
    mount, inode = dentry.mount, dentry.inode
    writer = mount.file_system.writer
    if writer is None or not mount.flags.isdisjoint({"ro", "noatime"}):
        return
    if inode.is_dir and "nodiratime" in mount.flags:
        return
    now = int(time())
    if isinstance(inode, PreciseTimes):
        if inode.atime_ns <= max(inode.mtime_ns, inode.ctime_ns) or now - inode.atime >= _DAY_SECONDS:
            writer.accessed(inode, now)
        return
    due = inode.atime <= max(inode.mtime, inode.ctime) or now - inode.atime >= _DAY_SECONDS
    if due and inode.atime != now:
        writer.accessed(inode, now)


def _without_set_id(mode: int) -> int | None:
    """Return a mode without set-id bits, None where it has none; set-group-ID without execution is no such bit."""
    cleared = mode & ~stat.S_ISUID
    if cleared & stat.S_IXGRP:
        cleared &= ~stat.S_ISGID
    return None if cleared == mode else cleared
