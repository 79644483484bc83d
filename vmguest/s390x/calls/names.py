"""System calls on file names: stat, directories, links, attributes."""

import os
import stat as modes
from collections.abc import Iterator
from errno import EEXIST, EINVAL, ENODATA, ENOTDIR, EPERM, ERANGE
from time import time_ns

from dcss.errors import KernelError
from vmguest.credentials import MAY_EXEC, MAY_READ, MAY_WRITE
from vmguest.fs import attr, namei
from vmguest.fs.mount import Dentry
from vmguest.fs.permission import check
from vmguest.fs.watch_events import IN_ACCESS
from vmguest.identity import CAP_SYS_CHROOT
from vmguest.s390x.calls.file_size import check_new_size
from vmguest.s390x.calls.paths import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    place_of,
    resolve,
)
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import TIMESPEC, pack_dirent, pack_stat, pack_statfs, pack_statx
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_UTIME_NOW, _UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
_RENAME_NOREPLACE = 1
_ON_MOUNT = frozenset({modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK})  # what a read-only mount keeps from being written
_SECOND_NS = 1_000_000_000
_KEEP = 0xFFFF_FFFF  # of chown: leave it as it is


def _name(thread: Thread, path: int) -> bytes:
    return thread.process.space.string(path)


def _open_place(thread: Thread, number: int) -> Dentry:
    """Return the place of an open file, whatever became of its name. Raises EBADF."""
    return thread.process.files.get(number).dentry


@CALLS.add("at", "path", "address", "flags")
def newfstatat(system: System, thread: Thread, directory: int, path: int, buffer: int, flags: int) -> int:
    """Tell what a path names."""
    dentry = resolve(system.vfs, thread.process, directory, _name(thread, path), flags)
    thread.process.space.write(buffer, pack_stat(dentry))
    return 0


@CALLS.add("path", "address")
def stat(system: System, thread: Thread, path: int, buffer: int) -> int:
    """Tell what a path names."""
    return newfstatat(system, thread, AT_FDCWD, path, buffer, 0) or 0


@CALLS.add("path", "address")
def lstat(system: System, thread: Thread, path: int, buffer: int) -> int:
    """Tell what a path names; of a symbolic link the link itself."""
    return newfstatat(system, thread, AT_FDCWD, path, buffer, AT_SYMLINK_NOFOLLOW) or 0


@CALLS.add("fd", "address")
def fstat(_system: System, thread: Thread, number: int, buffer: int) -> int:
    """Tell what is open."""
    thread.process.space.write(buffer, pack_stat(thread.process.files.get_any(number).dentry))
    return 0


@CALLS.add("at", "path", "flags", "uint", "address")
def statx(system: System, thread: Thread, directory: int, path: int, flags: int, _mask: int, buffer: int) -> int:
    """Tell what a path names, in the newer structure."""
    dentry = resolve(system.vfs, thread.process, directory, _name(thread, path), flags)
    thread.process.space.write(buffer, pack_statx(dentry))
    return 0


@CALLS.add("at", "path", "int", "flags")
def faccessat2(system: System, thread: Thread, directory: int, path: int, wanted: int, flags: int) -> int:
    """Ask whether a file may be read, written or executed."""
    if wanted & ~(MAY_READ | MAY_WRITE | MAY_EXEC):
        raise KernelError(EINVAL, f"access {wanted}")
    dentry = resolve(system.vfs, thread.process, directory, _name(thread, path), flags)
    if wanted & MAY_WRITE and modes.S_IFMT(dentry.inode.mode) in _ON_MOUNT:
        namei.writer_of(dentry)
    check(dentry, system.vfs.user, wanted)
    return 0


@CALLS.add("at", "path", "int")
def faccessat(system: System, thread: Thread, directory: int, path: int, wanted: int) -> int:
    """Ask whether a file may be read, written or executed."""
    return faccessat2(system, thread, directory, path, wanted, 0) or 0


@CALLS.add("path", "int")
def access(system: System, thread: Thread, path: int, wanted: int) -> int:
    """Ask whether a file may be read, written or executed."""
    return faccessat2(system, thread, AT_FDCWD, path, wanted, 0) or 0


@CALLS.add("at", "path", "buffer", "long")
def readlinkat(system: System, thread: Thread, directory: int, path: int, buffer: int, size_bytes: int) -> int:
    """Read where a symbolic link points."""
    if size_bytes <= 0:
        raise KernelError(EINVAL, f"readlink into {size_bytes} bytes")
    name = _name(thread, path)
    flags = AT_SYMLINK_NOFOLLOW if name else AT_EMPTY_PATH
    dentry = resolve(system.vfs, thread.process, directory, name, flags)
    if not dentry.inode.is_symlink:
        raise KernelError(EINVAL, f"{os.fsdecode(dentry.path)}: no symbolic link")
    target = dentry.mount.file_system.readlink(dentry.inode)[:size_bytes]
    thread.process.space.write(buffer, target)
    return len(target)


@CALLS.add("path", "buffer", "int")
def readlink(system: System, thread: Thread, path: int, buffer: int, size_bytes: int) -> int:
    """Read where a symbolic link points."""
    return readlinkat(system, thread, AT_FDCWD, path, buffer, size_bytes) or 0


# -- directories -------------------------------------------------------------------------------------------------------


@CALLS.add("buffer", "size")
def getcwd(_system: System, thread: Thread, buffer: int, size_bytes: int) -> int:
    """Tell the working directory."""
    directory = thread.process.directory
    path = directory.place.path_from(directory.root) + b"\0"
    if len(path) > size_bytes:
        raise KernelError(ERANGE, f"getcwd into {size_bytes} bytes, wanted {len(path)}")
    thread.process.space.write(buffer, path)
    return len(path)


def _change_directory(system: System, thread: Thread, dentry: Dentry) -> int:
    if not dentry.inode.is_dir:
        raise KernelError(ENOTDIR, f"{os.fsdecode(dentry.path)}: not a directory")
    check(dentry, system.vfs.user, MAY_EXEC)
    thread.process.directory.change(dentry)
    return 0


@CALLS.add("path")
def chdir(system: System, thread: Thread, path: int) -> int:
    """Change the working directory."""
    dentry = resolve(system.vfs, thread.process, AT_FDCWD, _name(thread, path))
    return _change_directory(system, thread, dentry)


@CALLS.add("fd")
def fchdir(system: System, thread: Thread, number: int) -> int:
    """Change the working directory to an open one."""
    return _change_directory(system, thread, thread.process.files.get_any(number).dentry)


@CALLS.add("fd", "buffer", "uint")
def getdents64(system: System, thread: Thread, number: int, buffer: int, size_bytes: int) -> int:
    """Read entries of a directory. The position counts entries."""
    file = thread.process.files.get(number)
    if not file.dentry.inode.is_dir:
        raise KernelError(ENOTDIR, f"descriptor {number}: not a directory")
    if file.position == 0 or file not in system.listings:
        system.listings[file] = list(_entries(system, file.dentry))
    packed, position = b"", file.position
    for inode, kind, name in system.listings[file][position:]:
        entry = pack_dirent(inode, position + 1, kind, name)
        if len(packed) + len(entry) > size_bytes:
            if not packed:
                raise KernelError(EINVAL, f"getdents64 into {size_bytes} bytes, wanted {len(entry)}")
            break
        packed += entry
        position += 1
    thread.process.space.write(buffer, packed)
    file.position = position
    system.vfs.notify(IN_ACCESS, file.dentry)
    return len(packed)


def _entries(system: System, directory: Dentry) -> Iterator[tuple[int, int, bytes]]:
    yield directory.inode.number, modes.S_IFDIR, b"."
    parent = system.vfs.follow_mount(directory.parent) if directory.parent is not None else directory
    yield parent.inode.number, modes.S_IFDIR, b".."
    for child in system.vfs.children(directory):
        yield child.inode.number, modes.S_IFMT(child.inode.mode), child.name


@CALLS.add("at", "path", "mode")
def mkdirat(system: System, thread: Thread, directory: int, path: int, mode: int) -> int:
    """Make a directory."""
    name = _name(thread, path)
    namei.mkdir(system.vfs, name, place_of(thread.process, directory, name), mode)
    return 0


@CALLS.add("path", "mode")
def mkdir(system: System, thread: Thread, path: int, mode: int) -> int:
    """Make a directory."""
    return mkdirat(system, thread, AT_FDCWD, path, mode) or 0


@CALLS.add("at", "path", "mode", "uint")
def mknodat(system: System, thread: Thread, directory: int, path: int, mode: int, number: int) -> int:
    """Make a device's node, a FIFO, a socket or a file."""
    name = _name(thread, path)
    rdev = (number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)
    if not modes.S_IFMT(mode):
        mode |= modes.S_IFREG
    namei.mknod(system.vfs, name, mode, rdev, place_of(thread.process, directory, name))
    return 0


@CALLS.add("path", "mode", "uint")
def mknod(system: System, thread: Thread, path: int, mode: int, number: int) -> int:
    """Make a device's node, a FIFO, a socket or a file."""
    return mknodat(system, thread, AT_FDCWD, path, mode, number) or 0


# -- names -------------------------------------------------------------------------------------------------------------


@CALLS.add("at", "path", "flags")
def unlinkat(system: System, thread: Thread, directory: int, path: int, flags: int) -> int:
    """Remove a name."""
    name = _name(thread, path)
    remove = namei.rmdir if flags & AT_REMOVEDIR else namei.unlink
    remove(system.vfs, name, place_of(thread.process, directory, name))
    return 0


@CALLS.add("path")
def unlink(system: System, thread: Thread, path: int) -> int:
    """Remove a name."""
    return unlinkat(system, thread, AT_FDCWD, path, 0) or 0


@CALLS.add("path")
def rmdir(system: System, thread: Thread, path: int) -> int:
    """Remove a directory."""
    return unlinkat(system, thread, AT_FDCWD, path, AT_REMOVEDIR) or 0


def _absolute(thread: Thread, directory: int, name: bytes) -> bytes:
    """Return a path that begins at the root, for calls that take two of them."""
    if name.startswith(b"/") or not name:
        return name
    return place_of(thread.process, directory, name).path.rstrip(b"/") + b"/" + name


@CALLS.add("at", "path", "at", "path", "flags")
def renameat2(
    system: System, thread: Thread, old_directory: int, old: int, new_directory: int, new: int, flags: int
) -> int:
    """Move a name."""
    source = _absolute(thread, old_directory, _name(thread, old))
    target = _absolute(thread, new_directory, _name(thread, new))
    if flags & ~_RENAME_NOREPLACE:
        raise KernelError(EINVAL, f"renameat2: flags {flags}")
    if flags and namei.existing(system.vfs, target, follow=False) is not None:
        raise KernelError(EEXIST, f"{os.fsdecode(target)}: is there")
    namei.rename(system.vfs, source, target)
    return 0


@CALLS.add("at", "path", "at", "path")
def renameat(system: System, thread: Thread, old_directory: int, old: int, new_directory: int, new: int) -> int:
    """Move a name."""
    return renameat2(system, thread, old_directory, old, new_directory, new, 0) or 0


@CALLS.add("path", "path")
def rename(system: System, thread: Thread, old: int, new: int) -> int:
    """Move a name."""
    return renameat2(system, thread, AT_FDCWD, old, AT_FDCWD, new, 0) or 0


@CALLS.add("at", "path", "at", "path", "flags")
def linkat(
    system: System, thread: Thread, old_directory: int, old: int, new_directory: int, new: int, flags: int
) -> int:
    """Give a file one more name."""
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise KernelError(EINVAL, f"linkat: flags {flags:#x}")
    process = thread.process
    walk = flags & AT_EMPTY_PATH | (0 if flags & AT_SYMLINK_FOLLOW else AT_SYMLINK_NOFOLLOW)
    source = resolve(system.vfs, process, old_directory, _name(thread, old), walk)
    name = _name(thread, new)
    namei.link(system.vfs, source, name, place_of(process, new_directory, name))
    return 0


@CALLS.add("path", "path")
def link(system: System, thread: Thread, old: int, new: int) -> int:
    """Give a file one more name."""
    return linkat(system, thread, AT_FDCWD, old, AT_FDCWD, new, 0) or 0


@CALLS.add("path", "at", "path")
def symlinkat(system: System, thread: Thread, target: int, directory: int, path: int) -> int:
    """Make a symbolic link."""
    name = _name(thread, path)
    namei.symlink(system.vfs, _name(thread, target), name, place_of(thread.process, directory, name))
    return 0


@CALLS.add("path", "path")
def symlink(system: System, thread: Thread, target: int, path: int) -> int:
    """Make a symbolic link."""
    return symlinkat(system, thread, target, AT_FDCWD, path) or 0


# -- attributes --------------------------------------------------------------------------------------------------------


@CALLS.add("at", "path", "mode")
def fchmodat(system: System, thread: Thread, directory: int, path: int, mode: int) -> int:
    """Set permission bits."""
    attr.chmod(system.vfs, resolve(system.vfs, thread.process, directory, _name(thread, path)), mode & 0o7777)
    return 0


@CALLS.add("path", "mode")
def chmod(system: System, thread: Thread, path: int, mode: int) -> int:
    """Set permission bits."""
    return fchmodat(system, thread, AT_FDCWD, path, mode) or 0


@CALLS.add("fd", "mode")
def fchmod(system: System, thread: Thread, number: int, mode: int) -> int:
    """Set permission bits of an open file."""
    attr.chmod(system.vfs, _open_place(thread, number), mode & 0o7777)
    return 0


def _owner(number: int) -> int | None:
    return None if number == _KEEP else number


@CALLS.add("at", "path", "uint", "uint", "flags")
def fchownat(system: System, thread: Thread, directory: int, path: int, uid: int, gid: int, flags: int) -> int:
    """Set owners."""
    dentry = resolve(system.vfs, thread.process, directory, _name(thread, path), flags)
    attr.chown(system.vfs, dentry, _owner(uid), _owner(gid))
    return 0


@CALLS.add("path", "uint", "uint")
def chown(system: System, thread: Thread, path: int, uid: int, gid: int) -> int:
    """Set owners."""
    return fchownat(system, thread, AT_FDCWD, path, uid, gid, 0) or 0


@CALLS.add("path", "uint", "uint")
def lchown(system: System, thread: Thread, path: int, uid: int, gid: int) -> int:
    """Set owners; of a symbolic link its own."""
    return fchownat(system, thread, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW) or 0


@CALLS.add("fd", "uint", "uint")
def fchown(system: System, thread: Thread, number: int, uid: int, gid: int) -> int:
    """Set owners of an open file."""
    attr.chown(system.vfs, _open_place(thread, number), _owner(uid), _owner(gid))
    return 0


@CALLS.add("at", "path", "address", "flags")
def utimensat(system: System, thread: Thread, directory: int, path: int, times: int, flags: int) -> int:
    """Set times, as exactly as the file system keeps them."""
    process = thread.process
    if path:
        dentry = resolve(system.vfs, process, directory, process.space.string(path), flags)
    else:
        dentry = _open_place(thread, directory)
    now_ns = time_ns()
    moments: list[int | None] = [now_ns, now_ns]
    if times:
        pairs = TIMESPEC.iter_unpack(process.space.read(times, 2 * TIMESPEC.size))
        moments = [_moment_ns(seconds, nanoseconds, now_ns) for seconds, nanoseconds in pairs]
        if moments == [None, None]:
            return 0
    seconds = [None if each is None else each // _SECOND_NS for each in moments]
    fractions = [0 if each is None else each % _SECOND_NS for each in moments]
    attr.utimens(system.vfs, dentry, *seconds, fractions_ns=(fractions[0], fractions[1]), now=not times)
    return 0


def _moment_ns(seconds: int, nanoseconds: int, now_ns: int) -> int | None:
    """Return a time in nanoseconds, None to leave it as it is. Raises KernelError(EINVAL)."""
    if nanoseconds == _UTIME_OMIT:
        return None
    if nanoseconds == _UTIME_NOW:
        return now_ns
    if not 0 <= nanoseconds < _SECOND_NS:
        raise KernelError(EINVAL, f"time of {nanoseconds} nanoseconds")
    return seconds * _SECOND_NS + nanoseconds


@CALLS.add("path", "long")
def truncate(system: System, thread: Thread, path: int, size_bytes: int) -> int:
    """Cut a file, or let it grow."""
    dentry = resolve(system.vfs, thread.process, AT_FDCWD, _name(thread, path))
    check_new_size(system, thread, dentry.inode.size_bytes, size_bytes)
    attr.truncate(system.vfs, dentry, size_bytes)
    return 0


def _statfs(thread: Thread, dentry: Dentry, buffer: int) -> int:
    thread.process.space.write(buffer, pack_statfs(dentry.mount, dentry.mount.file_system.statfs()))
    return 0


@CALLS.add("path", "address")
def statfs(system: System, thread: Thread, path: int, buffer: int) -> int:
    """Tell how full a file system is."""
    return _statfs(thread, resolve(system.vfs, thread.process, AT_FDCWD, _name(thread, path)), buffer)


@CALLS.add("fd", "address")
def fstatfs(_system: System, thread: Thread, number: int, buffer: int) -> int:
    """Tell how full the file system of an open file is."""
    return _statfs(thread, thread.process.files.get_any(number).dentry, buffer)


@CALLS.add("path", "size", "address")
def statfs64(system: System, thread: Thread, path: int, _size: int, buffer: int) -> int:
    """Tell how full a file system is."""
    return statfs(system, thread, path, buffer) or 0


@CALLS.add("fd", "size", "address")
def fstatfs64(system: System, thread: Thread, number: int, _size: int, buffer: int) -> int:
    """Tell how full the file system of an open file is."""
    return fstatfs(system, thread, number, buffer) or 0


@CALLS.add("mode")
def umask(system: System, thread: Thread, mask: int) -> int:
    """Set which permission bits new files do not get."""
    before = thread.process.credentials
    thread.process.credentials = system.vfs.user = before._replace(umask=mask & 0o777)
    return before.umask


@CALLS.add("path")
def chroot(system: System, thread: Thread, path: int) -> int:
    """Have absolute paths begin at a directory. Raises KernelError: EPERM without the capability, ENOTDIR."""
    process, vfs = thread.process, system.vfs
    place = resolve(vfs, process, AT_FDCWD, process.space.string(path))
    if not place.inode.is_dir:
        raise KernelError(ENOTDIR, f"chroot to {os.fsdecode(place.path)}: not a directory")
    check(place, vfs.user, MAY_EXEC)
    if not process.identity.capabilities.has(CAP_SYS_CHROOT):
        raise KernelError(EPERM, f"chroot to {os.fsdecode(place.path)}: wanted CAP_SYS_CHROOT")
    process.directory.change_root(None if place.is_at(vfs.root()) else place)
    vfs.task_root = process.directory.root
    return 0


# -- extended attributes -----------------------------------------------------------------------------------------------


def _values(thread: Thread, found: dict[bytes, bytes], name: int, buffer: int, size_bytes: int) -> int:
    value = found.get(thread.process.space.string(name))
    if value is None:
        raise KernelError(ENODATA, "no such attribute")
    return _store(thread, value, buffer, size_bytes)


def _store(thread: Thread, value: bytes, buffer: int, size_bytes: int) -> int:
    if size_bytes:
        if size_bytes < len(value):
            raise KernelError(ERANGE, f"attributes of {len(value)} bytes into {size_bytes}")
        thread.process.space.write(buffer, value)
    return len(value)


def _attributes(system: System, thread: Thread, path: int, *, follow: bool = True) -> dict[bytes, bytes]:
    return attr.get_xattrs(system.vfs, _attributed(system, thread, path, follow=follow))


def _attributed(system: System, thread: Thread, path: int, *, follow: bool) -> Dentry:
    flags = 0 if follow else AT_SYMLINK_NOFOLLOW
    return resolve(system.vfs, thread.process, AT_FDCWD, _name(thread, path), flags)


@CALLS.add("path", "path", "buffer", "size")
def getxattr(system: System, thread: Thread, path: int, name: int, buffer: int, size_bytes: int) -> int:
    """Read an extended attribute."""
    return _values(thread, _attributes(system, thread, path), name, buffer, size_bytes)


@CALLS.add("path", "path", "buffer", "size")
def lgetxattr(system: System, thread: Thread, path: int, name: int, buffer: int, size_bytes: int) -> int:
    """Read an extended attribute of a link itself."""
    return _values(thread, _attributes(system, thread, path, follow=False), name, buffer, size_bytes)


@CALLS.add("fd", "path", "buffer", "size")
def fgetxattr(system: System, thread: Thread, number: int, name: int, buffer: int, size_bytes: int) -> int:
    """Read an extended attribute of an open file."""
    return _values(thread, attr.get_xattrs(system.vfs, _open_place(thread, number)), name, buffer, size_bytes)


def _listed(found: dict[bytes, bytes]) -> bytes:
    return b"".join(name + b"\0" for name in found)


@CALLS.add("path", "buffer", "size")
def listxattr(system: System, thread: Thread, path: int, buffer: int, size_bytes: int) -> int:
    """List extended attributes."""
    return _store(thread, _listed(_attributes(system, thread, path)), buffer, size_bytes)


@CALLS.add("path", "buffer", "size")
def llistxattr(system: System, thread: Thread, path: int, buffer: int, size_bytes: int) -> int:
    """List extended attributes of a link itself."""
    return _store(thread, _listed(_attributes(system, thread, path, follow=False)), buffer, size_bytes)


@CALLS.add("fd", "buffer", "size")
def flistxattr(system: System, thread: Thread, number: int, buffer: int, size_bytes: int) -> int:
    """List extended attributes of an open file."""
    return _store(thread, _listed(attr.get_xattrs(system.vfs, _open_place(thread, number))), buffer, size_bytes)


def _set(system: System, thread: Thread, dentry: Dentry, name: int, value: bytes | None, flags: int = 0) -> int:
    attr.set_xattr(system.vfs, dentry, thread.process.space.string(name), value, flags=flags)
    return 0


@CALLS.add("path", "path", "data", "size", "flags")
def setxattr(system: System, thread: Thread, path: int, name: int, value: int, size_bytes: int, flags: int) -> int:
    """Set an extended attribute."""
    data = thread.process.space.read(value, size_bytes)
    return _set(system, thread, _attributed(system, thread, path, follow=True), name, data, flags)


@CALLS.add("path", "path", "data", "size", "flags")
def lsetxattr(system: System, thread: Thread, path: int, name: int, value: int, size_bytes: int, flags: int) -> int:
    """Set an extended attribute of a link itself."""
    data = thread.process.space.read(value, size_bytes)
    return _set(system, thread, _attributed(system, thread, path, follow=False), name, data, flags)


@CALLS.add("fd", "path", "data", "size", "flags")
def fsetxattr(system: System, thread: Thread, number: int, name: int, value: int, size_bytes: int, flags: int) -> int:
    """Set an extended attribute of an open file."""
    data = thread.process.space.read(value, size_bytes)
    return _set(system, thread, _open_place(thread, number), name, data, flags)


@CALLS.add("path", "path")
def removexattr(system: System, thread: Thread, path: int, name: int) -> int:
    """Remove an extended attribute."""
    return _set(system, thread, _attributed(system, thread, path, follow=True), name, None)


@CALLS.add("path", "path")
def lremovexattr(system: System, thread: Thread, path: int, name: int) -> int:
    """Remove an extended attribute of a link itself."""
    return _set(system, thread, _attributed(system, thread, path, follow=False), name, None)


@CALLS.add("fd", "path")
def fremovexattr(system: System, thread: Thread, number: int, name: int) -> int:
    """Remove an extended attribute of an open file."""
    return _set(system, thread, _open_place(thread, number), name, None)
