"""Changes to the tree of names: each is refused with EROFS where the file system is mounted read-only."""

import os
from errno import EBUSY, EEXIST, EINVAL, EISDIR, ENAMETOOLONG, ENOENT

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.fs.filesystem import Writer
from vmguest.fs.mount import Node
from vmguest.fs.vfs import MAX_SYMLINKS, Vfs, writer_of


def create(vfs: Vfs, path: bytes, start: Node | None = None) -> Node:
    """Make an empty regular file; behind a link that leads nowhere, where that points. Raises KernelError: EROFS, …"""
    if path.endswith(b"/"):
        raise KernelError(EISDIR, f"{os.fsdecode(path)}: is a directory")
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
    directory, name, writer = _new_place(vfs, path, start)
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
    """Remove a file or link. Raises KernelError: EISDIR, ENOENT, EBUSY for a mount point, EROFS."""
    directory, name, writer = _removable(vfs, path, start)
    writer.unlink(directory.inode, name)


def rmdir(vfs: Vfs, path: bytes, start: Node | None = None) -> None:
    """Remove a directory. Raises KernelError: ENOTDIR, ENOTEMPTY, EBUSY for a mount point, EROFS."""
    directory, name, writer = _removable(vfs, path, start)
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
    parent, slash, name = path.rstrip(b"/").rpartition(b"/")
    if not name:
        raise KernelError(EEXIST if path else ENOENT, f"{os.fsdecode(path)!r}: no name to give")
    if name in {b".", b".."}:
        raise KernelError(EINVAL, f"{os.fsdecode(path)}: no name to give")
    if len(name) > NAME_LEN:
        raise KernelError(ENAMETOOLONG, f"name of {len(name)} bytes, wanted at most {NAME_LEN}")
    directory = vfs.resolve(parent + b"/" if slash else b"./", start=start)
    return directory, name, writer_of(directory)


def _new_place(vfs: Vfs, path: bytes, start: Node | None) -> tuple[Node, bytes, Writer]:
    if existing(vfs, path.rstrip(b"/") or path[:1], follow=False, start=start) is not None:
        raise KernelError(EEXIST, f"{os.fsdecode(path)}: is there")
    return _place(vfs, path, start)


def _removable(vfs: Vfs, path: bytes, start: Node | None) -> tuple[Node, bytes, Writer]:
    node = vfs.resolve(path, follow=False, start=start)
    if node.is_mount_root:
        raise KernelError(EBUSY, f"{os.fsdecode(path)}: a file system is mounted here")
    if path.rstrip(b"/").endswith(b"."):
        raise KernelError(EINVAL, f"{os.fsdecode(path)}: no name to remove")
    return _place(vfs, path, start)
