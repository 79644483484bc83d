"""Where the relative paths of a system call begin."""

from errno import ENOTDIR

from dcss.errors import KernelError
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.s390x.process import Process

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x100, 0x200, 0x400, 0x1000


def place_of(process: Process, directory: int, path: bytes) -> Dentry:
    """Return where a path begins: the working directory, or that of a descriptor. Raises EBADF, ENOTDIR."""
    if directory == AT_FDCWD or path.startswith(b"/"):
        return process.directory.place
    dentry = process.files.get_any(directory).dentry
    if path and not dentry.inode.is_dir:
        raise KernelError(ENOTDIR, f"descriptor {directory}: not a directory")
    return dentry


def resolve(vfs: Vfs, process: Process, directory: int, path: bytes, flags: int = 0) -> Dentry:
    """Return what a path names, for calls that end in `at`; an empty one may name the descriptor itself."""
    if not path and flags & AT_EMPTY_PATH:
        return process.directory.place if directory == AT_FDCWD else process.files.get_any(directory).dentry
    start = place_of(process, directory, path)
    return vfs.resolve(path, follow=not flags & AT_SYMLINK_NOFOLLOW, start=start)
