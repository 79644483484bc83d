"""Whether a user may do what he asks for (generic_permission, may_delete and check_sticky of fs/namei.c)."""

import os
import stat
from errno import EACCES, EPERM

from dcss.errors import KernelError
from vmguest.credentials import MAY_EXEC, MAY_READ, MAY_WRITE, Credentials
from vmguest.fs import posix_acl
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.mount import Dentry

_ANY_EXEC = 0o111


def may(dentry: Dentry, user: Credentials, mask: int) -> bool:
    """Return whether a user may read, write or execute (search, for directories) what is at a place."""
    inode = dentry.inode
    if user.privileged:
        return inode.is_dir or not mask & MAY_EXEC or bool(inode.mode & _ANY_EXEC)
    if inode.uid == user.uid:
        return mask & ~(inode.mode >> 6) & 0o7 == 0
    if inode.mode & stat.S_IRWXG and (acl := access_list(dentry, posix_acl.ACCESS)):
        return posix_acl.allows(acl, inode.gid, user, mask)
    return mask & ~(inode.mode >> (3 if user.in_group(inode.gid) else 0)) & 0o7 == 0


def access_list(dentry: Dentry, name: bytes) -> posix_acl.Acl:
    """Return the access control list of a name that something has, empty where it has none (get_acl)."""
    system = dentry.mount.file_system
    if not system.has_acl or dentry.inode.is_symlink:
        return ()
    value = system.xattrs(dentry.inode).get(name)
    return () if value is None else posix_acl.parse(value)


def check(dentry: Dentry, user: Credentials, mask: int) -> None:
    """Raise KernelError(EACCES) unless a user may do that with what is at a place."""
    if not may(dentry, user, mask):
        words = [word for bit, word in ((MAY_READ, "read"), (MAY_WRITE, "write"), (MAY_EXEC, "execute")) if mask & bit]
        found = f"{stat.filemode(dentry.inode.mode)} {dentry.inode.uid}:{dentry.inode.gid}"
        raise KernelError(EACCES, f"{os.fsdecode(dentry.path)}: user {user.uid} may not {' and '.join(words)}: {found}")


def check_new_name(directory: Dentry, user: Credentials) -> None:
    """Raise KernelError(EACCES) unless a user may make names in a directory."""
    check(directory, user, MAY_WRITE | MAY_EXEC)


def check_removal(directory: Dentry, inode: VfsInode, user: Credentials) -> None:
    """Raise KernelError unless a user may remove a name: EACCES the directory, EPERM its sticky bit."""
    check(directory, user, MAY_WRITE | MAY_EXEC)
    sticky = directory.inode.mode & stat.S_ISVTX
    if sticky and not user.privileged and user.uid not in {inode.uid, directory.inode.uid}:
        raise KernelError(EPERM, f"{os.fsdecode(directory.path)}: sticky, and user {user.uid} owns neither")


def check_link_source(dentry: Dentry, user: Credentials) -> None:
    """Raise KernelError(EPERM) unless a user may give a file one more name (may_linkat, safe_hardlink_source)."""
    inode = dentry.inode
    if user.privileged or user.uid == inode.uid:
        return
    set_id = inode.mode & stat.S_ISUID or inode.mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP
    if not inode.is_regular or set_id or not may(dentry, user, MAY_READ | MAY_WRITE):
        raise KernelError(EPERM, f"{os.fsdecode(dentry.path)}: user {user.uid} may not link what he cannot write")


def check_owner(dentry: Dentry, user: Credentials) -> None:
    """Raise KernelError(EPERM) unless a user owns what is at a place, or is root."""
    if not user.privileged and user.uid != dentry.inode.uid:
        raise KernelError(EPERM, f"{os.fsdecode(dentry.path)}: is user {dentry.inode.uid}'s, not {user.uid}'s")
