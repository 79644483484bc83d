"""Files in real storage that have no place in the tree (mm/memfd.c)."""

from errno import EINVAL
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.mount import Dentry, Mount
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_RDWR, FileDescription
from vmguest.fs.tmpfs import TmpfsFileSystem
from vmguest.storage import RealStorage

MFD_CLOEXEC, MFD_ALLOW_SEALING = 1, 2
_MOUNT: Final = "memfd"  # among the internal mounts: those of tmpfs that programs make are no part of it
_MINOR: Final = 5  # of its device number, which no other file system has
_MODE: Final = 0o777
_MOST_NAME_BYTES: Final = 249


def new_memfd(vfs: Vfs, storage: RealStorage, name: bytes, flags: int) -> FileDescription:
    """Return an empty file that is open for reading and writing; it goes with its last open and mapping.

    There are no seals, whatever the flags say. Raises KernelError(EINVAL): other flags, the name is too long.
    """
    if flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING) or len(name) > _MOST_NAME_BYTES:
        raise KernelError(EINVAL, f"memfd_create with flags {flags:#x} and a name of {len(name)} bytes")
    mount = vfs.internal_mounts.get(_MOUNT)
    if mount is None:
        made = TmpfsFileSystem(storage, "tmpfs", _MINOR)
        mount = vfs.internal_mounts[_MOUNT] = Mount(made, made.root, (made.root, b""), "none")
    system = mount.file_system
    assert isinstance(system, TmpfsFileSystem)
    inode = system.make_unnamed(system.inode(system.root), _MODE, vfs.user, linkable=False)
    target = system.open_writable(inode)
    return FileDescription(vfs, Dentry(mount, inode, b"/memfd:" + name), target, O_RDWR, target=target)
