"""Opens that give a program no more than a place (O_PATH), or a file without a name (O_TMPFILE); see fs/namei.c."""

import os
import stat
from errno import EBADF, EINVAL, ENOTDIR
from typing import Final, NoReturn

from dcss.errors import KernelError
from vmguest.fs.file import UnmappableFile
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs, writer_of
from vmguest.fs.open import O_ACCMODE, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, FileDescription
from vmguest.fs.permission import check_new_name

O_TMPFILE: Final = 0o20000000 | O_DIRECTORY
TMPFILE_BIT: Final = 0o20000000
_KEPT_BY_PATH: Final = O_DIRECTORY | O_NOFOLLOW | O_PATH  # O_PATH_FLAGS: all others mean nothing then


class _PathFile(UnmappableFile):
    """What O_PATH opens: a place, whose inode it keeps; there is nothing to read or write."""

    size_bytes = 0

    def __init__(self, place: Dentry) -> None:
        self._place = place
        place.mount.file_system.hold(place.inode)

    def read(self, position: int, buffer: memoryview) -> NoReturn:
        """Refuse. Raises KernelError(EBADF)."""
        raise KernelError(EBADF, f"read of {len(buffer)} bytes at {position}: opened with O_PATH")

    def write(self, position: int, data: bytes | memoryview) -> NoReturn:
        """Refuse. Raises KernelError(EBADF)."""
        raise KernelError(EBADF, f"write of {len(data)} bytes at {position}: opened with O_PATH")

    def truncate(self, size_bytes: int) -> NoReturn:
        """Refuse. Raises KernelError(EBADF)."""
        raise KernelError(EBADF, f"truncate to {size_bytes} bytes: opened with O_PATH")

    def sendfile(self, position: int, count: int, actor: object) -> NoReturn:
        """Refuse. Raises KernelError(EBADF)."""
        raise KernelError(EBADF, f"sendfile of {count} bytes at {position} to {actor}: opened with O_PATH")

    def close(self) -> None:
        """Keep the inode no longer."""
        self._place.mount.file_system.release(self._place.inode)


def open_path(vfs: Vfs, path: bytes, flags: int, start: Dentry | None = None) -> FileDescription:
    """Open a place, whatever is there and whatever its permissions say; with O_NOFOLLOW a symbolic link itself.

    Raises KernelError: ENOENT, ENOTDIR, and what else the walk raises.
    """
    dentry = vfs.resolve(path, follow=not flags & O_NOFOLLOW, start=start)
    if flags & O_DIRECTORY and not dentry.inode.is_dir:
        raise KernelError(ENOTDIR, f"{os.fsdecode(dentry.path)}: not a directory")
    return FileDescription(vfs, dentry, file := _PathFile(dentry), flags & _KEPT_BY_PATH, device=file)


def open_unnamed(vfs: Vfs, path: bytes, flags: int, start: Dentry | None = None, mode: int = 0o600) -> FileDescription:
    """Make a file in a directory, which gets a name only by link(2), and never with O_EXCL.

    Raises KernelError: EINVAL not for writing, ENOTDIR, EROFS, EACCES, EOPNOTSUPP, ENOSPC.
    """
    if flags & O_TMPFILE != O_TMPFILE or flags & O_ACCMODE == O_RDONLY:
        raise KernelError(EINVAL, "O_TMPFILE: wanted O_DIRECTORY, and O_WRONLY or O_RDWR")
    directory = vfs.resolve(path, start=start)
    if not directory.inode.is_dir:
        raise KernelError(ENOTDIR, f"{os.fsdecode(directory.path)}: not a directory")
    writer = writer_of(directory)
    check_new_name(directory, vfs.user)
    bits = stat.S_IMODE(mode) & ~vfs.user.umask
    inode = writer.make_unnamed(directory.inode, bits, vfs.user, linkable=not flags & O_EXCL)
    target = writer.open_writable(inode)
    dentry = Dentry(directory.mount, inode, b"#%d" % inode.number, directory)
    return FileDescription(vfs, dentry, target, flags & ~O_EXCL, target=target)
