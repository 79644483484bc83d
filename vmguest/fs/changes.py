"""Changes to the tree of names: each is refused with EROFS where the file system is mounted read-only."""

import os
from errno import EBUSY, EEXIST, EINVAL, EISDIR, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.fs.filesystem import Writer
from vmguest.fs.mount import Node
from vmguest.fs.vfs import MAX_SYMLINKS, Vfs, writer_of

_DOTS_IN_UNLINK = {b"": EISDIR, b".": EISDIR, b"..": EISDIR}
_DOTS_IN_RMDIR = {b"": EBUSY, b".": EINVAL, b"..": ENOTEMPTY}


def create(vfs: Vfs, path: bytes, start: Node | None = None) -> Node:
    """Make an empty regular file; behind a link that leads nowhere, where that points. Raises KernelError: EROFS, …"""
    directory, name, writer = _place(vfs, *_final_target(vfs, path, start))
    return Node(directory.mount, writer.create(directory.inode, name), name, directory)


def touch(vfs: Vfs, path: bytes, seconds: int, start: Node | None = None) -> None:
    """Set the time of a file's last change, or make an empty file."""
    node = existing(vfs, path, start=start)
    if node is None:
        create(vfs, path, start)
    else:
        writer_of(node).set_mtime(node.inode, seconds)


def mkdir(vfs: Vfs, path: bytes, start: Node | None = None) -> None:
    """Make a directory. Raises KernelError: EEXIST, ENOENT, ENOTDIR, EROFS."""
    directory, name, writer = _new_place(vfs, path, start, is_directory=True)
    writer.mkdir(directory.inode, name)


def symlink(vfs: Vfs, target: bytes, path: bytes, start: Node | None = None) -> None:
    """Make a symbolic link at `path`. Raises KernelError: EEXIST, ENOENT for an empty target, EROFS."""
    if not target:
        raise KernelError(ENOENT, "symbolic link: the target is empty")
    directory, name, writer = _new_place(vfs, path, start)
    writer.symlink(directory.inode, name, target)


def mknod(vfs: Vfs, path: bytes, mode: int, rdev: tuple[int, int], start: Node | None = None) -> None:
    """Make the node of a device, its type in `mode`. Raises KernelError: EEXIST, EROFS, EPERM."""
    directory, name, writer = _new_place(vfs, path, start)
    writer.mknod(directory.inode, name, mode, rdev)


def unlink(vfs: Vfs, path: bytes, start: Node | None = None) -> None:
    """Remove a file or link. Raises KernelError: EROFS, ENOENT, EISDIR, EBUSY for a mount point."""
    directory, name, writer = _removable(vfs, path, start, _DOTS_IN_UNLINK)
    node = vfs.resolve(name, follow=False, start=directory)
    if node.inode.is_dir:
        raise KernelError(EISDIR, f"{os.fsdecode(path)}: is a directory")
    if path.endswith(b"/"):
        raise KernelError(ENOTDIR, f"{os.fsdecode(path)}: not a directory")
    _check_not_mounted(vfs, node)
    writer.unlink(directory.inode, name)


def rmdir(vfs: Vfs, path: bytes, start: Node | None = None) -> None:
    """Remove a directory. Raises KernelError: EROFS, ENOENT, ENOTDIR, EBUSY for a mount point, ENOTEMPTY."""
    directory, name, writer = _removable(vfs, path, start, _DOTS_IN_RMDIR)
    node = vfs.resolve(name, follow=False, start=directory)
    if not node.inode.is_dir:
        raise KernelError(ENOTDIR, f"{os.fsdecode(path)}: not a directory")
    _check_not_mounted(vfs, node)
    writer.rmdir(directory.inode, name)


def existing(vfs: Vfs, path: bytes, *, follow: bool = True, start: Node | None = None) -> Node | None:
    """Return what a path names, or None where it names nothing. Raises KernelError for all other failures."""
    try:
        return vfs.resolve(path, follow=follow, start=start)
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        return None


def _final_target(vfs: Vfs, path: bytes, start: Node | None) -> tuple[bytes, Node | None]:
    """Return where a missing file must be made: behind links that lead nowhere it is where the last one points."""
    for _ in range(MAX_SYMLINKS):
        node = existing(vfs, path, follow=False, start=start)
        if node is None or not node.inode.is_symlink:
            break
        path, start = node.mount.file_system.readlink(node.inode), node.parent
    return path, start


def _place(vfs: Vfs, path: bytes, start: Node | None) -> tuple[Node, bytes, Writer]:
    """Return the directory that a new name goes into, the name, and what writes it."""
    directory, name = parent_of(vfs, path, start)
    if name in {b"", b".", b".."}:
        raise KernelError(EEXIST, f"{os.fsdecode(path)}: is there")
    if len(name) > NAME_LEN:
        raise KernelError(ENAMETOOLONG, f"name of {len(name)} bytes, wanted at most {NAME_LEN}")
    return directory, name, writer_of(directory)


def _new_place(vfs: Vfs, path: bytes, start: Node | None, *, is_directory: bool = False) -> tuple[Node, bytes, Writer]:
    if existing(vfs, path.rstrip(b"/") or path[:1], follow=False, start=start) is not None:
        raise KernelError(EEXIST, f"{os.fsdecode(path)}: is there")
    if path.endswith(b"/") and not is_directory:
        parent_of(vfs, path, start)
        raise KernelError(ENOENT, f"{os.fsdecode(path)}: only a directory's name ends with a slash")
    return _place(vfs, path, start)


def _removable(vfs: Vfs, path: bytes, start: Node | None, dots: dict[bytes, int]) -> tuple[Node, bytes, Writer]:
    """Return the directory that a name is taken from, the name, and what does it; `dots` are errnos for no names."""
    directory, name = parent_of(vfs, path, start)
    if name in dots:
        raise KernelError(dots[name], f"{os.fsdecode(path)}: no name to remove")
    return directory, name, writer_of(directory)


def parent_of(vfs: Vfs, path: bytes, start: Node | None) -> tuple[Node, bytes]:
    """Return the directory of a path's last name, and that name, empty for the root (filename_parentat)."""
    parent, slash, name = path.rstrip(b"/").rpartition(b"/")
    if not path:
        raise KernelError(ENOENT, "empty path")
    return vfs.resolve(parent + b"/" if slash or not name else b"./", start=start), name


def _check_not_mounted(vfs: Vfs, node: Node) -> None:
    if node.is_mount_root or vfs.is_mount_point(node):
        raise KernelError(EBUSY, f"{os.fsdecode(node.path)}: a file system is mounted here")
