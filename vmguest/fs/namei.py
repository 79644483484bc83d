"""Names: the walk from a path to an inode across mounts, and what makes and removes names (fs/namei.c)."""

import os
import stat
from collections.abc import Callable, Iterator
from errno import (
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EROFS,
    EXDEV,
)
from itertools import count
from typing import Protocol

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.credentials import MAY_EXEC, MAY_WRITE, ROOT, Credentials
from vmguest.fs import posix_acl
from vmguest.fs.devices import DeviceFile, Devices
from vmguest.fs.filesystem import FileSystem, VfsInode, Writer
from vmguest.fs.filesystem_types import FileSystemTypes
from vmguest.fs.mount import Dentry, MagicLink, root_of
from vmguest.fs.namespace import MountNamespace
from vmguest.fs.permission import access_list, check, check_link_source, check_new_name, check_removal
from vmguest.fs.scope import Scope
from vmguest.fs.watch_events import (
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
)

MAX_SYMLINKS = 40
PATH_MAX = 4096
ON_DEMAND = frozenset({b"dev", b"proc", b"sys", b"tmp"})  # in /, mounted when a path first leads to one of them
_COOKIES = count(1)  # of renames
_DOTS_IN_UNLINK = {b"": EISDIR, b".": EISDIR, b"..": EISDIR}
_DOTS_IN_RMDIR = {b"": EBUSY, b".": EINVAL, b"..": ENOTEMPTY}


class FifoOpener(Protocol):
    """Opens FIFOs; a guest whose programs cannot wait for each other has none."""

    def open(self, dentry: Dentry, flags: int) -> DeviceFile:
        """Open an end of a FIFO. Raises KernelError(ENXIO) for writing without a reader, with O_NONBLOCK."""
        ...


class LockKeeper(Protocol):
    """Keeps the locks of files; a guest without programs has none."""

    def release(self, file: Dentry, owner: object) -> None:
        """End all locks that an owner has on a file: a descriptor of it was closed."""
        ...


class Watcher(Protocol):
    """Is told what is done to files; a guest in which nobody watches has none."""

    def notify(self, mask: int, place: Dentry, *, itself: bool, parent: bool, cookie: int = 0) -> None:
        """Tell who watches an inode itself, and with its name who watches the directory that it is in."""
        ...

    def gone(self, file_system: FileSystem, inode: VfsInode) -> None:
        """Tell that an inode is no more."""
        ...


class Vfs(MountNamespace):
    """The names of a guest: its mounts and the paths through them. `devices` opens what device nodes stand for.

    `user` is who asks at the moment: the credentials of the task that runs (current_cred).
    """

    def __init__(self, types: FileSystemTypes, devices: Devices, populate: Callable[[], None]) -> None:
        super().__init__(types, populate)
        self.devices = devices
        self.fifos: FifoOpener | None = None
        self.locks: LockKeeper | None = None
        self.watches: Watcher | None = None
        self.user = ROOT
        self.task_root: Dentry | None = None  # of the task that runs, where chroot(2) gave it another one
        self.scope: Scope | None = None  # of the path that is walked now, where it may not lead everywhere

    def notify(self, mask: int, place: Dentry, *, itself: bool = True, parent: bool = True) -> None:
        """Tell who watches what is at a place, or the directory that it is in (fsnotify)."""
        if self.watches is not None:
            self.watches.notify(mask, place, itself=itself, parent=parent)

    def resolve(  # noqa: PLR0912 - one loop, which is walked often
        self, path: bytes, *, follow: bool = True, start: Dentry | None = None
    ) -> Dentry:
        """Walk a path, through symbolic links and mounts; a relative one begins at `start`, or the root.

        Raises KernelError: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG.
        """
        if len(path) >= PATH_MAX:
            raise KernelError(ENAMETOOLONG, f"path of {len(path)} bytes, wanted less than {PATH_MAX}")
        if not path:
            raise KernelError(ENOENT, "empty path")
        scope, links, names = self.scope, 0, path_names(path)
        dentry = self._beginning() if start is None or path.startswith(b"/") else start
        while names:
            name = names.pop()
            if not dentry.inode.is_dir:
                raise KernelError(ENOTDIR, f"{os.fsdecode(dentry.path)}: not a directory")
            if not self.user.privileged:
                check(dentry, self.user, MAY_EXEC)
            if name == b".":
                continue
            if name == b"..":
                is_top = dentry.parent is None or (self.task_root is not None and dentry.is_at(self.task_root))
                if not is_top and not (scope is not None and scope.stays(dentry)):
                    assert dentry.parent is not None
                    above = self.follow_mount(dentry.parent)
                    if scope is not None:
                        scope.check_step(dentry, above)
                    dentry = above
                continue
            child = self._child(dentry, name)
            if scope is not None:
                scope.check_step(dentry, child)
            if not child.inode.is_symlink or not (names or follow or path.endswith(b"/")):
                dentry = child
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise KernelError(ELOOP, f"{os.fsdecode(path)}: more than {MAX_SYMLINKS} symbolic links")
            if scope is not None:
                scope.check_link(magic=isinstance(child.inode, MagicLink))
            if isinstance(child.inode, MagicLink):
                dentry = child.inode.follow()
                continue
            target = child.mount.file_system.readlink(child.inode)
            names.extend(path_names(target))
            if target.startswith(b"/"):
                dentry = self._beginning()
        if path.endswith(b"/") and not dentry.inode.is_dir:
            raise KernelError(ENOTDIR, f"{os.fsdecode(dentry.path)}: not a directory")
        return dentry

    def _beginning(self) -> Dentry:
        """Return where an absolute path begins."""
        root = self.root_of_task()
        return root if self.scope is None else self.scope.begin(root)

    def root_of_task(self) -> Dentry:
        """Return the root of the task that runs."""
        return self.root() if self.task_root is None else self.task_root

    def children(self, directory: Dentry) -> Iterator[Dentry]:
        """Yield what a directory holds, mounts in place of what they cover."""
        mount, number = directory.mount, directory.inode.number
        attached = {name: child for (parent, name), child in mount.children.items() if name and parent == number}
        for name, child_number in mount.file_system.names(directory.inode):
            if name not in attached:
                yield self.follow_mount(Dentry(mount, mount.file_system.inode(child_number), name, directory))
        for name, child in sorted(attached.items()):
            yield self.follow_mount(root_of(child, name, directory))

    def umount(self, path: bytes, start: Dentry | None = None) -> None:
        """Unmount what was mounted last at a place. Raises KernelError: EBUSY in use, EINVAL nothing mounted there."""
        self.detach(self.follow_mount(self.resolve(path, start=start)))  # a working directory may be below what covers

    def _child(self, directory: Dentry, name: bytes) -> Dentry:
        if len(name) > NAME_LEN:
            raise KernelError(ENAMETOOLONG, f"name of {len(name)} bytes, wanted at most {NAME_LEN}")
        if name in ON_DEMAND and directory.parent is None and not self.populated:
            self.populate()
            directory = self.root()
        child = self.lookup(directory, name)
        if child is None:
            where = os.fsdecode(Dentry(directory.mount, directory.inode, name, directory).path)
            raise KernelError(ENOENT, f"{where}: no such file or directory")
        return child


def writer_of(dentry: Dentry) -> Writer:
    """Return what changes the file system of a place. Raises KernelError(EROFS) where it is mounted read-only."""
    writer = dentry.mount.file_system.writer
    if writer is None or "ro" in dentry.mount.flags:
        raise KernelError(EROFS, f"{os.fsdecode(dentry.path)}: mounted read-only")
    return writer


def create(vfs: Vfs, path: bytes, start: Dentry | None = None, mode: int = 0o666) -> Dentry:
    """Make an empty regular file; behind a link that leads nowhere, where that points. Raises KernelError: EROFS, …"""
    directory, name, writer = _place(vfs, *_final_target(vfs, path, start))
    check_new_name(directory, vfs.user)
    inode = _made(vfs, directory, name, mode, lambda bits: writer.create(directory.inode, name, bits, vfs.user))
    return Dentry(directory.mount, inode, name, directory)


def mkdir(vfs: Vfs, path: bytes, start: Dentry | None = None, mode: int = 0o777) -> None:
    """Make a directory. Raises KernelError: EEXIST, ENOENT, ENOTDIR, EROFS, EACCES, EMLINK."""
    directory, name, writer = _new_place(vfs, path, start, is_directory=True)
    check_new_name(directory, vfs.user)
    mode &= 0o1777
    _made(vfs, directory, name, mode, lambda bits: writer.mkdir(directory.inode, name, bits, vfs.user))


def symlink(vfs: Vfs, target: bytes, path: bytes, start: Dentry | None = None) -> None:
    """Make a symbolic link at `path`. Raises KernelError: EEXIST, ENOENT for an empty target, EROFS."""
    if not target:
        raise KernelError(ENOENT, "symbolic link: the target is empty")
    if len(target) >= PATH_MAX:
        raise KernelError(ENAMETOOLONG, f"symbolic link: target of {len(target)} bytes, wanted less than {PATH_MAX}")
    directory, name, writer = _new_place(vfs, path, start)
    check_new_name(directory, vfs.user)
    inode = writer.symlink(directory.inode, name, target, vfs.user)
    vfs.notify(IN_CREATE, Dentry(directory.mount, inode, name, directory), itself=False)


def mknod(vfs: Vfs, path: bytes, mode: int, rdev: tuple[int, int], start: Dentry | None = None) -> None:
    """Make the node of a device, a FIFO, a socket or a file, its type in `mode`.

    Devices are root's to make. Raises KernelError: EEXIST, EROFS, EACCES, EPERM.
    """
    directory, name, writer = _new_place(vfs, path, start)
    check_new_name(directory, vfs.user)
    if stat.S_IFMT(mode) in {stat.S_IFCHR, stat.S_IFBLK} and not vfs.user.privileged:
        raise KernelError(EPERM, f"{os.fsdecode(path)}: user {vfs.user.uid} may not make a device's node")
    kind = stat.S_IFMT(mode)

    def make(bits: int) -> VfsInode:
        if kind == stat.S_IFREG:
            return writer.create(directory.inode, name, bits, vfs.user)
        return writer.mknod(directory.inode, name, kind | bits, rdev, vfs.user)

    _made(vfs, directory, name, stat.S_IMODE(mode), make)


def _new_mode(directory: Dentry, mode: int, user: Credentials) -> int:
    """Return the permission bits of a new file: without the umask, and without a set-group-ID that is not the user's.

    A program of a group that he is not in would be his otherwise, from a directory that hands its group on (since
    Linux 4.19, and in older ones that distributions keep up).
    """
    executable = stat.S_ISGID | stat.S_IXGRP
    foreign = directory.inode.mode & stat.S_ISGID and not user.in_group(directory.inode.gid)
    if mode & executable == executable and foreign and not user.privileged:
        mode &= ~stat.S_ISGID
    return mode & 0o7777 & ~user.umask


def _made(vfs: Vfs, directory: Dentry, name: bytes, mode: int, make: Callable[[int], VfsInode]) -> VfsInode:
    """Make a file by `make`, which gets permission bits, and give it the lists that its directory has for new files.

    Where there is a default list, the umask plays no part (posix_acl_create). What gets no list is removed again.
    """
    inode = _made_with_lists(vfs, directory, name, mode, make)
    vfs.notify(IN_CREATE, Dentry(directory.mount, inode, name, directory), itself=False)
    return inode


def _made_with_lists(vfs: Vfs, directory: Dentry, name: bytes, mode: int, make: Callable[[int], VfsInode]) -> VfsInode:
    default = access_list(directory, posix_acl.DEFAULT)
    if not default:
        return make(_new_mode(directory, mode, vfs.user))
    acl, mode = posix_acl.inherited(default, _new_mode(directory, mode, vfs.user._replace(umask=0)))
    inode, writer = make(mode), writer_of(directory)
    try:
        if inode.is_dir:
            writer.set_xattr(inode, posix_acl.DEFAULT, posix_acl.pack(default))
        if not posix_acl.equivalent_mode(acl)[1]:
            writer.set_xattr(inode, posix_acl.ACCESS, posix_acl.pack(acl))
    except KernelError:
        (writer.rmdir if inode.is_dir else writer.unlink)(directory.inode, name)
        raise
    return inode


def link(vfs: Vfs, source: Dentry, path: bytes, start: Dentry | None = None) -> None:
    """Give a file one more name, or its first one, if it was made without.

    A user who may not read and write a file, and does not own it, gives it none (protected_hardlinks, which
    distributions turn on). Raises KernelError: EXDEV on another mount, EPERM, also for a directory, EEXIST, EMLINK,
    EROFS, EACCES.
    """
    directory, name, writer = _new_place(vfs, path, start)
    if source.mount is not directory.mount:
        raise KernelError(EXDEV, f"link {os.fsdecode(path)}: {os.fsdecode(source.path)} is on another mount")
    check_link_source(source, vfs.user)
    check_new_name(directory, vfs.user)
    if source.inode.is_dir:
        raise KernelError(EPERM, f"link {os.fsdecode(path)}: {os.fsdecode(source.path)} is a directory")
    writer.link(source.inode, directory.inode, name)
    vfs.notify(IN_ATTRIB, source, parent=False)
    vfs.notify(IN_CREATE, Dentry(directory.mount, source.inode, name, directory), itself=False)


def rename(vfs: Vfs, old: bytes, new: bytes, start: Dentry | None = None) -> None:
    """Move what a path names, over what the new one names, if anything (rename(2), in the order of its checks).

    Raises KernelError: EXDEV on another mount, EBUSY a mount point or "." and "..", EINVAL into itself, ENOTEMPTY,
    ENOTDIR, EISDIR, ENOENT, EACCES, EPERM, EROFS, EMLINK, ENOSPC.
    """
    (old_directory, old_name), (new_directory, new_name) = parent_of(vfs, old, start), parent_of(vfs, new, start)
    if old_directory.mount is not new_directory.mount:
        raise KernelError(EXDEV, f"rename {os.fsdecode(old)}: {os.fsdecode(new)} is on another mount")
    if {old_name, new_name} & {b"", b".", b".."}:
        raise KernelError(EBUSY, f"rename {os.fsdecode(old)} to {os.fsdecode(new)}: no name that can be moved")
    writer = writer_of(old_directory)
    source = vfs.resolve(old_name, follow=False, start=old_directory)
    target = existing(vfs, new_name, follow=False, start=new_directory)
    if not source.inode.is_dir and (old.endswith(b"/") or new.endswith(b"/")):
        raise KernelError(ENOTDIR, f"rename {os.fsdecode(old)}: not a directory")
    if is_below(new_directory, source):
        raise KernelError(EINVAL, f"rename {os.fsdecode(old)}: {os.fsdecode(new)} lies inside it")
    if target is not None and is_below(old_directory, target):
        raise KernelError(ENOTEMPTY, f"rename {os.fsdecode(old)}: lies inside {os.fsdecode(new)}")
    if target is not None and target.inode.number == source.inode.number:
        return  # two names of one file stay
    check_removal(old_directory, source.inode, vfs.user)
    _check_target(vfs, new_directory, source, target)
    if source.inode.is_dir and old_directory.inode.number != new_directory.inode.number:
        check(source, vfs.user, MAY_WRITE)  # its ".." changes
    for dentry in (source, target):
        if dentry is not None:
            _check_not_mounted(vfs, dentry)
    writer.rename(old_directory.inode, old_name, new_directory.inode, new_name)
    if vfs.watches is not None:
        moved = Dentry(new_directory.mount, source.inode, new_name, new_directory)
        _tell_renamed(vfs, vfs.watches, source, moved, target)


def _tell_renamed(vfs: Vfs, watches: Watcher, source: Dentry, moved: Dentry, target: Dentry | None) -> None:
    """Tell both directories of a move by one cookie, and what was moved or replaced (fsnotify_move)."""
    cookie = next(_COOKIES)
    watches.notify(IN_MOVED_FROM, source, itself=False, parent=True, cookie=cookie)
    watches.notify(IN_MOVED_TO, moved, itself=False, parent=True, cookie=cookie)
    if target is not None:
        vfs.notify(IN_ATTRIB, target, parent=False)
    vfs.notify(IN_MOVE_SELF, moved, parent=False)
    if target is not None and target.inode.links_count == 0 and not target.mount.file_system.is_held(target.inode):
        watches.gone(target.mount.file_system, target.inode)


def _check_target(vfs: Vfs, directory: Dentry, source: Dentry, target: Dentry | None) -> None:
    """Refuse a rename to where the user may not write, or over what is of another kind."""
    if target is None:
        check_new_name(directory, vfs.user)
        return
    check_removal(directory, target.inode, vfs.user)
    if source.inode.is_dir and not target.inode.is_dir:
        raise KernelError(ENOTDIR, f"{os.fsdecode(target.path)}: not a directory, and cannot be replaced by one")
    if target.inode.is_dir and not source.inode.is_dir:
        raise KernelError(EISDIR, f"{os.fsdecode(target.path)}: is a directory")


def is_below(dentry: Dentry | None, ancestor: Dentry) -> bool:
    """Whether a place is `ancestor` or lies below it."""
    while dentry is not None:
        if dentry.mount is ancestor.mount and dentry.inode.number == ancestor.inode.number:
            return ancestor.inode.is_dir
        dentry = dentry.parent
    return False


def unlink(vfs: Vfs, path: bytes, start: Dentry | None = None) -> None:
    """Remove a file or link. Raises KernelError: EROFS, ENOENT, EISDIR, EBUSY for a mount point."""
    directory, name, writer = _removable(vfs, path, start, _DOTS_IN_UNLINK)
    dentry = vfs.resolve(name, follow=False, start=directory)
    if path.endswith(b"/") and not dentry.inode.is_dir:
        raise KernelError(ENOTDIR, f"{os.fsdecode(path)}: not a directory")
    if not path.endswith(b"/"):
        check_removal(directory, dentry.inode, vfs.user)
    if dentry.inode.is_dir:
        raise KernelError(EISDIR, f"{os.fsdecode(path)}: is a directory")
    _check_not_mounted(vfs, dentry)
    writer.unlink(directory.inode, name)
    if vfs.watches is not None:
        vfs.notify(IN_ATTRIB, dentry, parent=False)
        _tell_removed(vfs, dentry)


def rmdir(vfs: Vfs, path: bytes, start: Dentry | None = None) -> None:
    """Remove a directory. Raises KernelError: EROFS, ENOENT, ENOTDIR, EBUSY for a mount point, ENOTEMPTY."""
    directory, name, writer = _removable(vfs, path, start, _DOTS_IN_RMDIR)
    dentry = vfs.resolve(name, follow=False, start=directory)
    check_removal(directory, dentry.inode, vfs.user)
    if not dentry.inode.is_dir:
        raise KernelError(ENOTDIR, f"{os.fsdecode(path)}: not a directory")
    _check_not_mounted(vfs, dentry)
    writer.rmdir(directory.inode, name)
    if vfs.watches is not None:
        _tell_removed(vfs, dentry)


def _tell_removed(vfs: Vfs, place: Dentry) -> None:
    """Tell that a name was removed, and first that its inode is gone, unless it is open still."""
    file_system, inode = place.mount.file_system, place.inode
    if vfs.watches is not None and inode.links_count == 0 and not file_system.is_held(inode):
        vfs.watches.gone(file_system, inode)
    vfs.notify(IN_DELETE, place, itself=False)


def existing(vfs: Vfs, path: bytes, *, follow: bool = True, start: Dentry | None = None) -> Dentry | None:
    """Return what a path names, or None where it names nothing. Raises KernelError for all other failures."""
    try:
        return vfs.resolve(path, follow=follow, start=start)
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        return None


def _final_target(vfs: Vfs, path: bytes, start: Dentry | None) -> tuple[bytes, Dentry | None]:
    """Return where a missing file must be made: behind links that lead nowhere it is where the last one points."""
    for _ in range(MAX_SYMLINKS):
        dentry = existing(vfs, path, follow=False, start=start)
        if dentry is None or not dentry.inode.is_symlink:
            break
        path, start = dentry.mount.file_system.readlink(dentry.inode), dentry.parent
    return path, start


def _place(vfs: Vfs, path: bytes, start: Dentry | None) -> tuple[Dentry, bytes, Writer]:
    """Return the directory that a new name goes into, the name, and what writes it."""
    directory, name = parent_of(vfs, path, start)
    if name in {b"", b".", b".."}:
        raise KernelError(EEXIST, f"{os.fsdecode(path)}: is there")
    if len(name) > NAME_LEN:
        raise KernelError(ENAMETOOLONG, f"name of {len(name)} bytes, wanted at most {NAME_LEN}")
    return directory, name, writer_of(directory)


def _new_place(
    vfs: Vfs, path: bytes, start: Dentry | None, *, is_directory: bool = False
) -> tuple[Dentry, bytes, Writer]:
    """Return the same for a name that nothing has. Whether the user may make it is asked by the caller, as in Linux."""
    if existing(vfs, path.rstrip(b"/") or path[:1], follow=False, start=start) is not None:
        raise KernelError(EEXIST, f"{os.fsdecode(path)}: is there")
    if path.endswith(b"/") and not is_directory:
        parent_of(vfs, path, start)
        raise KernelError(ENOENT, f"{os.fsdecode(path)}: only a directory's name ends with a slash")
    return _place(vfs, path, start)


def _removable(vfs: Vfs, path: bytes, start: Dentry | None, dots: dict[bytes, int]) -> tuple[Dentry, bytes, Writer]:
    """Return the directory that a name is taken from, the name, and what does it; `dots` are errnos for no names."""
    directory, name = parent_of(vfs, path, start)
    if name in dots:
        raise KernelError(dots[name], f"{os.fsdecode(path)}: no name to remove")
    return directory, name, writer_of(directory)


def parent_of(vfs: Vfs, path: bytes, start: Dentry | None) -> tuple[Dentry, bytes]:
    """Return the directory of a path's last name, and that name, empty for the root (filename_parentat)."""
    parent, slash, name = path.rstrip(b"/").rpartition(b"/")
    if not path:
        raise KernelError(ENOENT, "empty path")
    directory = vfs.resolve(parent + b"/" if slash or not name else b"./", start=start)
    if not vfs.user.privileged:
        check(directory, vfs.user, MAY_EXEC)
    return directory, name


def _check_not_mounted(vfs: Vfs, dentry: Dentry) -> None:
    if dentry.is_mount_root or vfs.is_mount_point(dentry):
        raise KernelError(EBUSY, f"{os.fsdecode(dentry.path)}: a file system is mounted here")


def path_names(path: bytes) -> list[bytes]:
    """Return a path's names, last first, so that pop() walks it."""
    return [name for name in reversed(path.split(b"/")) if name]
