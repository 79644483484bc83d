"""A file system in real storage: what a guest starts with (rootfs), and what /tmp is on (tmpfs).

Its data is page cache, as in Linux, and there is no other copy. Names and inodes are the guest kernel's own memory.
"""

import stat
from collections.abc import Iterator, Sequence
from errno import EEXIST, EINVAL, EISDIR, ENODATA, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY, EOPNOTSUPP
from time import time_ns

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from dcss.ext2.inode import InodeChange
from vmguest.credentials import Credentials
from vmguest.frames import FrameMap
from vmguest.fs.filesystem import XATTR_CREATE, XATTR_REPLACE, FileSystem, StatFs, VfsInode
from vmguest.fs.options import MountOptions
from vmguest.fs.tmpfs_file import TmpfsFile, TmpfsInode
from vmguest.fs.tmpfs_options import TmpfsOptions, parse_tmpfs_options
from vmguest.storage import RealStorage

ROOTFS_OPTIONS = TmpfsOptions(mode=0o755)  # of what is mounted without options, not shown
_FIRST_MINOR = 16  # of the numbers without a device; those below are taken by what there is one of


class TmpfsFileSystem:
    """A mounted file system in real storage; `type_name` is rootfs or tmpfs. It is its own Writer."""

    root = 1
    device = None
    buffer_bytes = 0
    has_acl = False

    def __init__(
        self, storage: RealStorage, type_name: str, minor: int = 1, settings: TmpfsOptions = ROOTFS_OPTIONS
    ) -> None:
        self.type_name = self.source = type_name
        self.device_number = (0, minor)
        self.read_only = False
        self._storage = storage
        self._settings = settings
        self._inodes: dict[int, TmpfsInode] = {}
        self._last_number = 0
        root = self._new(stat.S_IFDIR | settings.mode)
        root.links_count, root.uid, root.gid = 2, settings.uid, settings.gid

    @property
    def options(self) -> tuple[str, ...]:
        """The options in force."""
        access = "ro" if self.read_only else "rw"
        return (access,) if self._settings is ROOTFS_OPTIONS else (access, *self._settings.shown())

    @property
    def writer(self) -> "TmpfsFileSystem | None":
        """Itself, unless it is mounted read-only."""
        return None if self.read_only else self

    @property
    def page_cache_bytes(self) -> int:
        """The files' data."""
        return sum(inode.pages for inode in self._inodes.values()) * PAGE_SIZE

    def inode(self, number: int) -> TmpfsInode:
        """Return an inode."""
        return self._inodes[number]

    def lookup(self, directory: VfsInode, name: bytes) -> int | None:
        """Return the inode number of a name in a directory, or None."""
        return self._own(directory).children.get(name)

    def names(self, directory: VfsInode) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers of a directory, as they were when it was asked."""
        yield from tuple(self._own(directory).children.items())

    def readlink(self, inode: VfsInode) -> bytes:
        """Return a symbolic link's target."""
        if not inode.is_symlink:
            raise KernelError(EINVAL, f"inode {inode.number}: not a symbolic link")
        return self._own(inode).target

    def open(self, inode: VfsInode) -> "TmpfsFile":
        """Open a regular file. Raises KernelError: EISDIR for a directory, EINVAL for anything else."""
        own = self._own(inode)
        if own.data is None:
            raise KernelError(EISDIR if own.is_dir else EINVAL, f"inode {own.number}: not a regular file")
        self.hold(own)
        return TmpfsFile(own, own.data, self._storage, self._room_pages)

    def open_writable(self, inode: VfsInode) -> "TmpfsFile":
        """Open a regular file; every open can write."""
        return self.open(inode)

    def hold(self, inode: VfsInode) -> None:
        """Keep an inode, also when it loses its last name, until `release`."""
        self._own(inode).opens += 1

    def release(self, inode: VfsInode) -> None:
        """End one open or hold; the last one of what has no name frees it."""
        own = self._own(inode)
        own.opens -= 1
        self._forget_unused(own)

    def is_held(self, inode: VfsInode) -> bool:
        """Return whether somebody has an inode open, or holds it."""
        return self._own(inode).opens > 0

    def set_all_times(self) -> None:
        """Have everything in it look made just now."""
        now_ns = time_ns()
        for inode in self._inodes.values():
            inode.set_times(now_ns)

    def statfs(self) -> StatFs:
        """Return what its files take, and what real storage has left for everybody."""
        used, free = self.page_cache_bytes // PAGE_SIZE, self._storage.free_bytes // PAGE_SIZE
        room, limit_inodes = self._room_pages(), self._settings.limit_inodes
        if room is not None:
            free = min(free, room)
        free_inodes = free if limit_inodes is None else max(0, limit_inodes - len(self._inodes))
        return StatFs(PAGE_SIZE, used + free, free, free, len(self._inodes) + free_inodes, free_inodes)

    def act_for(self, caller: Credentials) -> None:
        """Do nothing: nothing is kept for root."""

    def create(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> TmpfsInode:
        """Make an empty regular file."""
        inode = self._add(directory, name, stat.S_IFREG | mode, caller)
        inode.data = FrameMap(self._storage)
        return inode

    def mkdir(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> TmpfsInode:
        """Make a directory."""
        inode = self._add(directory, name, stat.S_IFDIR | mode, caller)
        inode.links_count = 2
        self._own(directory).links_count += 1
        return inode

    def symlink(self, directory: VfsInode, name: bytes, target: bytes, caller: Credentials) -> TmpfsInode:
        """Make a symbolic link."""
        inode = self._add(directory, name, stat.S_IFLNK | 0o777, caller)
        inode.target, inode.size_bytes = target, len(target)
        return inode

    def mknod(
        self, directory: VfsInode, name: bytes, mode: int, rdev: tuple[int, int], caller: Credentials
    ) -> TmpfsInode:
        """Make the node of a device, a FIFO or a socket."""
        inode = self._add(directory, name, mode, caller)
        inode.rdev = rdev
        return inode

    def make_unnamed(self, directory: VfsInode, mode: int, caller: Credentials, *, linkable: bool) -> TmpfsInode:
        """Make an empty regular file without a name."""
        self._check_alive(self._own(directory), b"a file without a name")
        inode = self._new_owned(self._own(directory), stat.S_IFREG | mode, caller)
        inode.data = FrameMap(self._storage)
        inode.links_count, inode.linkable = 0, linkable
        return inode

    def link(self, inode: VfsInode, directory: VfsInode, name: bytes) -> None:
        """Give a file one more name."""
        own, parent = self._own(inode), self._own(directory)
        self._check_alive(parent, name)
        if own.links_count == 0 and not own.linkable:
            raise KernelError(ENOENT, f"inode {own.number}: was removed")
        parent.children[name] = own.number
        own.links_count += 1
        own.linkable = False
        own.ctime_ns = parent.mtime_ns = parent.ctime_ns = time_ns()

    def rename(self, old_directory: VfsInode, old_name: bytes, new_directory: VfsInode, new_name: bytes) -> None:
        """Move a name, over what the new one names, if anything. Raises KernelError: ENOTDIR, EISDIR, ENOTEMPTY."""
        source, target = self._own(old_directory), self._own(new_directory)
        moved = self._inodes[source.children[old_name]]
        number = target.children.get(new_name)
        if number == moved.number:
            return
        self._check_alive(target, new_name)
        if number is not None:
            replaced = self._inodes[number]
            if moved.is_dir and not replaced.is_dir:
                raise KernelError(ENOTDIR, f"{new_name!r}: not a directory")
            if replaced.is_dir:
                if not moved.is_dir:
                    raise KernelError(EISDIR, f"{new_name!r}: is a directory")
                self.rmdir(target, new_name)
            else:
                self.unlink(target, new_name)
        self._remove(source, old_name)
        target.children[new_name] = moved.number
        moved.ctime_ns = target.mtime_ns = target.ctime_ns = time_ns()
        if moved.is_dir:
            source.links_count -= 1
            target.links_count += 1

    def unlink(self, directory: VfsInode, name: bytes) -> None:
        """Remove a name of a file or link; its data goes with its last open. Raises KernelError(EISDIR)."""
        inode = self._inodes[self._own(directory).children[name]]
        if inode.is_dir:
            raise KernelError(EISDIR, f"{name!r}: is a directory")
        self._remove(directory, name)
        inode.links_count -= 1
        self._forget_unused(inode)

    def rmdir(self, directory: VfsInode, name: bytes) -> None:
        """Remove a directory. Raises KernelError: ENOTDIR, ENOTEMPTY."""
        inode = self._inodes[self._own(directory).children[name]]
        if not inode.is_dir:
            raise KernelError(ENOTDIR, f"{name!r}: not a directory")
        if inode.children:
            raise KernelError(ENOTEMPTY, f"{name!r}: {len(inode.children)} names in it")
        self._remove(directory, name)
        self._own(directory).links_count -= 1
        inode.links_count = 0
        self._forget_unused(inode)

    def set_attributes(self, inode: VfsInode, change: InodeChange) -> None:
        """Set permission bits, owners and times."""
        own = self._own(inode)
        change.apply(own)
        own.ctime_ns = time_ns()
        own.atime_ns += change.atime_fraction_ns
        own.mtime_ns += change.mtime_fraction_ns

    def accessed(self, inode: VfsInode, now: int) -> None:  # noqa: ARG002 - it is kept more exactly
        """Set the time of the last read."""
        self._own(inode).atime_ns = time_ns()

    def xattrs(self, inode: VfsInode) -> dict[bytes, bytes]:
        """Return the extended attributes of an inode."""
        return dict(self._own(inode).xattrs)

    def set_xattr(self, inode: VfsInode, name: bytes, value: bytes | None, flags: int = 0) -> None:
        """Set or remove an attribute. Raises KernelError: EOPNOTSUPP for prefixes without a place, ENODATA, EEXIST."""
        own = self._own(inode)
        if not name.startswith((b"trusted.", b"security.")):
            raise KernelError(EOPNOTSUPP, f"attribute {name!r}: tmpfs keeps trusted. and security. only")
        if name in own.xattrs and flags & XATTR_CREATE:
            raise KernelError(EEXIST, f"attribute {name!r}: is there")
        if name not in own.xattrs and (value is None or flags & XATTR_REPLACE):
            raise KernelError(ENODATA, f"attribute {name!r}: is not there")
        if value is None:
            del own.xattrs[name]
        else:
            own.xattrs[name] = value

    def sync(self) -> None:
        """Do nothing: there is no device."""

    def remount(self, options: MountOptions) -> None:
        """Make it read-only or writable again, or change its limits. Raises KernelError(EINVAL) for other options."""
        changed = parse_tmpfs_options(options.data, self._storage.size_bytes, self._settings)
        used = self.page_cache_bytes // PAGE_SIZE
        if changed.limit_pages is not None and used > changed.limit_pages:
            raise KernelError(EINVAL, f"tmpfs: {used} pages are in use, wanted at most {changed.limit_pages}")
        self._settings = changed
        if options.read_only is not None:
            self.read_only = options.read_only

    def unmount(self) -> None:
        """Give every frame back."""
        for inode in self._inodes.values():
            if inode.data is not None:
                inode.data.truncate(0)

    def _own(self, inode: VfsInode) -> TmpfsInode:
        return inode if isinstance(inode, TmpfsInode) else self._inodes[inode.number]

    def _room_pages(self) -> int | None:
        """Return how many pages its size leaves; None where it has none."""
        limit = self._settings.limit_pages
        return None if limit is None else max(0, limit - self.page_cache_bytes // PAGE_SIZE)

    def _new(self, mode: int) -> TmpfsInode:
        limit = self._settings.limit_inodes
        if limit is not None and len(self._inodes) >= limit:
            raise KernelError(ENOSPC, f"tmpfs: it has {limit} files, as many as nr_inodes= says")
        self._last_number += 1
        inode = TmpfsInode(self._last_number, mode)
        inode.set_times(time_ns())
        self._inodes[inode.number] = inode
        return inode

    @staticmethod
    def _check_alive(directory: TmpfsInode, name: bytes) -> None:
        if directory.links_count == 0:  # it is still a working directory (IS_DEADDIR)
            raise KernelError(ENOENT, f"{name!r}: the directory was removed")

    def _add(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> TmpfsInode:
        own = self._own(directory)
        self._check_alive(own, name)
        inode = self._new_owned(own, mode, caller)
        own.children[name] = inode.number
        own.mtime_ns = own.ctime_ns = inode.mtime_ns
        return inode

    def _new_owned(self, directory: TmpfsInode, mode: int, caller: Credentials) -> TmpfsInode:
        inode = self._new(mode)
        inode.uid, inode.gid = caller.uid, caller.gid
        if directory.mode & stat.S_ISGID:  # handed on, as by inode_init_owner
            inode.gid = directory.gid
            inode.mode |= stat.S_ISGID if inode.is_dir else 0
        return inode

    def _remove(self, directory: VfsInode, name: bytes) -> None:
        own = self._own(directory)
        del own.children[name]
        own.mtime_ns = own.ctime_ns = time_ns()

    def _forget_unused(self, inode: TmpfsInode) -> None:
        if inode.links_count == 0 and inode.opens == 0:
            if inode.data is not None:
                inode.data.truncate(0)
            del self._inodes[inode.number]


def mount_tmpfs(storage: RealStorage, options: MountOptions, mounted: Sequence[FileSystem]) -> TmpfsFileSystem:
    """Return a new file system, under a number that no other has. Raises KernelError(EINVAL) for unknown options."""
    settings = parse_tmpfs_options(options.data, storage.size_bytes)
    taken = {system.device_number for system in mounted}
    minor = next(n for n in range(_FIRST_MINOR, _FIRST_MINOR + len(taken) + 1) if (0, n) not in taken)
    return TmpfsFileSystem(storage, "tmpfs", minor, settings)
