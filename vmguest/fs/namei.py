"""Names: the walk from a path to an inode across mounts, and what makes and removes names (fs/namei.c)."""

import os
from collections.abc import Callable, Iterator
from errno import EBUSY, EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY, EROFS

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.fs.devices import Devices
from vmguest.fs.filesystem import Writer
from vmguest.fs.filesystem_types import FileSystemTypes
from vmguest.fs.mount import Dentry, root_of
from vmguest.fs.namespace import MountNamespace

MAX_SYMLINKS = 40
PATH_MAX = 4096
ON_DEMAND = frozenset({b"dev", b"proc", b"sys", b"tmp"})  # in /, mounted when a path first leads to one of them
_DOTS_IN_UNLINK = {b"": EISDIR, b".": EISDIR, b"..": EISDIR}
_DOTS_IN_RMDIR = {b"": EBUSY, b".": EINVAL, b"..": ENOTEMPTY}


class Vfs(MountNamespace):
    """The names of a guest: its mounts and the paths through them. `devices` opens what device nodes stand for."""

    def __init__(self, types: FileSystemTypes, devices: Devices, populate: Callable[[], None]) -> None:
        super().__init__(types, populate)
        self.devices = devices

    def resolve(self, path: bytes, *, follow: bool = True, start: Dentry | None = None) -> Dentry:
        """Walk a path, through symbolic links and mounts; a relative one begins at `start`, or the root.

        Raises KernelError: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG.
        """
        if len(path) >= PATH_MAX:
            raise KernelError(ENAMETOOLONG, f"path of {len(path)} bytes, wanted less than {PATH_MAX}")
        if not path:
            raise KernelError(ENOENT, "empty path")
        dentry = self.root() if start is None or path.startswith(b"/") else start
        names = path_names(path)
        links = 0
        while names:
            name = names.pop()
            if not dentry.inode.is_dir:
                raise KernelError(ENOTDIR, f"{os.fsdecode(dentry.path)}: not a directory")
            if name == b".":
                continue
            if name == b"..":
                dentry = self.follow_mount(dentry.parent) if dentry.parent is not None else dentry
                continue
            child = self._child(dentry, name)
            if not child.inode.is_symlink or not (names or follow or path.endswith(b"/")):
                dentry = child
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise KernelError(ELOOP, f"{os.fsdecode(path)}: more than {MAX_SYMLINKS} symbolic links")
            target = child.mount.file_system.readlink(child.inode)
            names.extend(path_names(target))
            if target.startswith(b"/"):
                dentry = self.root()
        if path.endswith(b"/") and not dentry.inode.is_dir:
            raise KernelError(ENOTDIR, f"{os.fsdecode(dentry.path)}: not a directory")
        return dentry

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


def create(vfs: Vfs, path: bytes, start: Dentry | None = None) -> Dentry:
    """Make an empty regular file; behind a link that leads nowhere, where that points. Raises KernelError: EROFS, …"""
    directory, name, writer = _place(vfs, *_final_target(vfs, path, start))
    return Dentry(directory.mount, writer.create(directory.inode, name), name, directory)


def touch(vfs: Vfs, path: bytes, seconds: int, start: Dentry | None = None) -> None:
    """Set the time of a file's last change, or make an empty file."""
    dentry = existing(vfs, path, start=start)
    if dentry is None:
        create(vfs, path, start)
    else:
        writer_of(dentry).set_mtime(dentry.inode, seconds)


def mkdir(vfs: Vfs, path: bytes, start: Dentry | None = None) -> None:
    """Make a directory. Raises KernelError: EEXIST, ENOENT, ENOTDIR, EROFS."""
    directory, name, writer = _new_place(vfs, path, start, is_directory=True)
    writer.mkdir(directory.inode, name)


def symlink(vfs: Vfs, target: bytes, path: bytes, start: Dentry | None = None) -> None:
    """Make a symbolic link at `path`. Raises KernelError: EEXIST, ENOENT for an empty target, EROFS."""
    if not target:
        raise KernelError(ENOENT, "symbolic link: the target is empty")
    directory, name, writer = _new_place(vfs, path, start)
    writer.symlink(directory.inode, name, target)


def mknod(vfs: Vfs, path: bytes, mode: int, rdev: tuple[int, int], start: Dentry | None = None) -> None:
    """Make the node of a device, its type in `mode`. Raises KernelError: EEXIST, EROFS, EPERM."""
    directory, name, writer = _new_place(vfs, path, start)
    writer.mknod(directory.inode, name, mode, rdev)


def unlink(vfs: Vfs, path: bytes, start: Dentry | None = None) -> None:
    """Remove a file or link. Raises KernelError: EROFS, ENOENT, EISDIR, EBUSY for a mount point."""
    directory, name, writer = _removable(vfs, path, start, _DOTS_IN_UNLINK)
    dentry = vfs.resolve(name, follow=False, start=directory)
    if dentry.inode.is_dir:
        raise KernelError(EISDIR, f"{os.fsdecode(path)}: is a directory")
    if path.endswith(b"/"):
        raise KernelError(ENOTDIR, f"{os.fsdecode(path)}: not a directory")
    _check_not_mounted(vfs, dentry)
    writer.unlink(directory.inode, name)


def rmdir(vfs: Vfs, path: bytes, start: Dentry | None = None) -> None:
    """Remove a directory. Raises KernelError: EROFS, ENOENT, ENOTDIR, EBUSY for a mount point, ENOTEMPTY."""
    directory, name, writer = _removable(vfs, path, start, _DOTS_IN_RMDIR)
    dentry = vfs.resolve(name, follow=False, start=directory)
    if not dentry.inode.is_dir:
        raise KernelError(ENOTDIR, f"{os.fsdecode(path)}: not a directory")
    _check_not_mounted(vfs, dentry)
    writer.rmdir(directory.inode, name)


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
    return vfs.resolve(parent + b"/" if slash or not name else b"./", start=start), name


def _check_not_mounted(vfs: Vfs, dentry: Dentry) -> None:
    if dentry.is_mount_root or vfs.is_mount_point(dentry):
        raise KernelError(EBUSY, f"{os.fsdecode(dentry.path)}: a file system is mounted here")


def path_names(path: bytes) -> list[bytes]:
    """Return a path's names, last first, so that pop() walks it."""
    return [name for name in reversed(path.split(b"/")) if name]
