"""Changes to the tree of names: each is refused with EROFS where the file system is mounted read-only."""

import os
from errno import EBUSY, EEXIST, EINVAL, EISDIR, ENAMETOOLONG, ENOENT, EROFS
from typing import Self

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.fs.file import WritableFile
from vmguest.fs.filesystem import Writer
from vmguest.fs.vfs import MAX_SYMLINKS, Node, OpenFile, Vfs


class OpenForWriting(OpenFile):
    """A file open for writing; `write` goes on where the last one ended."""

    def __init__(self, node: Node, *, append: bool = False) -> None:
        self.target: WritableFile = _writer(node).open_writable(node.inode)
        super().__init__(node, self.target)
        self.position = self.target.size_bytes if append else 0

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data`, and return how much that is. Raises KernelError(ENOSPC)."""
        view, done = memoryview(data), 0
        while done < len(view):
            count = self.target.write(self.position, view[done:])
            self.position += count
            done += count
        return done


def open_for_writing(vfs: Vfs, path: bytes, *, append: bool = False) -> OpenForWriting:
    """Open a file, made where it is missing, emptied unless `append`. Raises KernelError: EROFS, EISDIR, ENOENT."""
    node = _existing(vfs, path)
    if node is None:
        if path.endswith(b"/"):
            raise KernelError(EISDIR, f"{os.fsdecode(path)}: is a directory")
        directory, name, writer = _place(vfs, _final_target(vfs, path))
        inode = writer.create(directory.inode, name)
        node = Node(directory.mount, inode, directory.path.rstrip(b"/") + b"/" + name)
    if node.inode.is_dir:
        raise KernelError(EISDIR, f"{os.fsdecode(path)}: is a directory")
    opened = OpenForWriting(node, append=append)
    if not append:
        opened.target.truncate(0)
    return opened


def touch(vfs: Vfs, path: bytes, seconds: int) -> None:
    """Set the time of a file's last change, or make an empty file."""
    node = _existing(vfs, path)
    if node is None:
        open_for_writing(vfs, path).close()
    else:
        _writer(node).set_mtime(node.inode, seconds)


def mkdir(vfs: Vfs, path: bytes) -> None:
    """Make a directory. Raises KernelError: EEXIST, ENOENT, ENOTDIR, EROFS."""
    directory, name, writer = _new_place(vfs, path)
    writer.mkdir(directory.inode, name)


def symlink(vfs: Vfs, target: bytes, path: bytes) -> None:
    """Make a symbolic link at `path`. Raises KernelError: EEXIST, ENOENT for an empty target, EROFS."""
    if not target:
        raise KernelError(ENOENT, "symbolic link: the target is empty")
    directory, name, writer = _new_place(vfs, path)
    writer.symlink(directory.inode, name, target)


def unlink(vfs: Vfs, path: bytes) -> None:
    """Remove a file or link. Raises KernelError: EISDIR, ENOENT, EROFS."""
    directory, name, writer = _removable(vfs, path)
    writer.unlink(directory.inode, name)


def rmdir(vfs: Vfs, path: bytes) -> None:
    """Remove a directory. Raises KernelError: ENOTDIR, ENOTEMPTY, EBUSY for a mount point, EROFS."""
    directory, name, writer = _removable(vfs, path)
    writer.rmdir(directory.inode, name)


def _writer(node: Node) -> Writer:
    writer = node.mount.file_system.writer
    if writer is None:
        raise KernelError(EROFS, f"{os.fsdecode(node.path)}: mounted read-only")
    return writer


def _existing(vfs: Vfs, path: bytes) -> Node | None:
    try:
        return vfs.resolve(path)
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        return None


def _final_target(vfs: Vfs, path: bytes) -> bytes:
    """Return where a missing file must be made: behind links that lead nowhere it is where the last one points."""
    for _ in range(MAX_SYMLINKS):
        try:
            node = vfs.resolve(path, follow=False)
        except KernelError:
            break
        target = node.mount.file_system.readlink(node.inode)
        path = target if target.startswith(b"/") else node.path.rpartition(b"/")[0] + b"/" + target
    return path


def _place(vfs: Vfs, path: bytes) -> tuple[Node, bytes, Writer]:
    """Return the directory that a new name goes into, the name, and what writes it."""
    parent, _, name = path.rstrip(b"/").rpartition(b"/")
    if not name:
        raise KernelError(EEXIST, f"{os.fsdecode(path)}: is there")
    if name in {b".", b".."}:
        raise KernelError(EINVAL, f"{os.fsdecode(path)}: no name to give")
    if len(name) > NAME_LEN:
        raise KernelError(ENAMETOOLONG, f"name of {len(name)} bytes, wanted at most {NAME_LEN}")
    directory = vfs.resolve(parent + b"/")
    return directory, name, _writer(directory)


def _new_place(vfs: Vfs, path: bytes) -> tuple[Node, bytes, Writer]:
    try:
        vfs.resolve(path.rstrip(b"/") or b"/", follow=False)
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        return _place(vfs, path)
    raise KernelError(EEXIST, f"{os.fsdecode(path)}: is there")


def _removable(vfs: Vfs, path: bytes) -> tuple[Node, bytes, Writer]:
    node = vfs.resolve(path, follow=False)
    if vfs.is_mount_point(node.path):
        raise KernelError(EBUSY, f"{os.fsdecode(path)}: a file system is mounted here")
    if path.rstrip(b"/").endswith(b"."):
        raise KernelError(EINVAL, f"{os.fsdecode(path)}: no name to remove")
    return _place(vfs, path)
