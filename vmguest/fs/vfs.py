"""Names: the tree of mounts, and the walk from a path to an inode across them (fs/namei.c, fs/namespace.c)."""

import os
from collections.abc import Callable, Iterator
from errno import EBUSY, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EROFS
from typing import TYPE_CHECKING

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.fs.mount import Dentry, Mount, Place
from vmguest.storage import RealStorage

if TYPE_CHECKING:
    from vmguest.fs.devices import DeviceFile
    from vmguest.fs.filesystem import FileSystem, VfsInode, Writer
    from vmguest.fs.tmpfs import TmpfsFileSystem

MAX_SYMLINKS = 40
PATH_MAX = 4096
ON_DEMAND = frozenset({b"dev", b"proc", b"sys", b"tmp"})  # in /, mounted when somebody asks for one of them


class Vfs:
    """The mounts of a guest, over rootfs, which gets the directories that mounts of its boot need.

    rootfs is made when somebody needs it: most guests mount something else at / and never do. `populate` is called
    once, when the first path leads to one of `ON_DEMAND`; it calls `attach` for them. `open_device` opens the device
    that a node stands for, whatever file system the node is in.
    """

    def __init__(
        self, storage: RealStorage, populate: Callable[[], None], open_device: "Callable[[VfsInode], DeviceFile]"
    ) -> None:
        self.open_device = open_device
        self._storage = storage
        self._rootfs: TmpfsFileSystem | None = None
        self._base: Mount | None = None  # what the tree begins with
        self._mounts: list[Mount] = []
        self._populate: Callable[[], None] | None = populate

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """All mounts, also those that others cover, in the order in which they were made; rootfs first, if needed."""
        return tuple(self._mounts)

    def mount(self, file_system: "FileSystem", at: str, flags: frozenset[str] = frozenset()) -> Mount:
        """Mount at a directory, which rootfs makes. Raises KernelError(ENOENT, ENOTDIR) where another lacks it."""
        if self._base is None and not _names(os.fsencode(at)):
            self._base = self._add(file_system, file_system.source, flags)
            return self._base
        return self.graft(file_system, self._mount_point(os.fsencode(at)), flags=flags)

    def graft(
        self,
        file_system: "FileSystem",
        dentry: Dentry,
        *,
        root: Dentry | None = None,
        source: str | None = None,
        flags: frozenset[str] = frozenset(),
    ) -> Mount:
        """Mount over a place, only the part below `root` where that is given; directories over directories only.

        It goes over what lies over that place already, which a working directory may be below. `source` is what
        /proc/mounts shows, where that is not the file system's own. Raises KernelError: ENOTDIR, and ENOENT where the
        place, or `root`, was removed while somebody stood in it.
        """
        dentry = self._cross(dentry)
        for place in (dentry, root or dentry):
            if place.inode.links_count == 0:
                raise KernelError(ENOENT, f"mount at {os.fsdecode(dentry.path)}: {os.fsdecode(place.path)} was removed")
        top = file_system.inode(file_system.root) if root is None else root.inode
        if top.is_dir != dentry.inode.is_dir:
            raise KernelError(ENOTDIR, f"mount at {os.fsdecode(dentry.path)}: a directory goes over a directory only")
        mount = self._add(file_system, source or file_system.source, flags, root)
        _cover(mount, dentry, dentry.place)
        return mount

    def populate(self) -> None:
        """Mount what is mounted on demand, unless that has been done."""
        populate, self._populate = self._populate, None
        if populate is not None:
            self._make_rootfs()
            populate()

    def attach(self, file_system: "FileSystem", name: bytes) -> None:
        """Mount at /`name`, unless something is; the root need not have that directory, and may be read-only."""
        root = self.root()
        there = self._child_or_none(root, name)
        if there is None or not there.is_mount_root:
            mount = self._add(file_system, file_system.source)
            _cover(mount, Dentry(root.mount, root.inode, name, root), (root.inode.number, name))

    def umount(self, path: bytes, start: Dentry | None = None) -> None:
        """Unmount what was mounted last at a place. Raises KernelError: EBUSY in use, EINVAL nothing mounted there."""
        at = self._cross(self.resolve(path, start=start))  # a working directory may be below what covers it
        mount = at.mount
        if not at.is_mount_root or (mount is self._base and mount.file_system is self._rootfs):
            raise KernelError(EINVAL, f"umount {os.fsdecode(at.path)}: not mounted")
        if mount.users or mount.children:
            found = f"in use {mount.users} times, {len(mount.children)} mounts on it"
            raise KernelError(EBUSY, f"umount {os.fsdecode(at.path)}: {found}")
        self._mounts.remove(mount)
        mount.file_system.release(at.inode)
        if mount.mountpoint is None:
            self._base = None
        else:
            del mount.mountpoint.mount.children[mount.covers]
        self.release_unused(mount.file_system)

    def release_unused(self, file_system: "FileSystem") -> None:
        """Unmount a file system that no mount is of, any more or after all."""
        if all(mount.file_system is not file_system for mount in self._mounts):
            file_system.unmount()

    def resolve(self, path: bytes, *, follow: bool = True, start: Dentry | None = None) -> Dentry:
        """Walk a path, through symbolic links and mounts; a relative one begins at `start`, or the root.

        Raises KernelError: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG.
        """
        if len(path) >= PATH_MAX:
            raise KernelError(ENAMETOOLONG, f"path of {len(path)} bytes, wanted less than {PATH_MAX}")
        if not path:
            raise KernelError(ENOENT, "empty path")
        dentry = self.root() if start is None or path.startswith(b"/") else start
        names = _names(path)
        links = 0
        while names:
            name = names.pop()
            if not dentry.inode.is_dir:
                raise KernelError(ENOTDIR, f"{os.fsdecode(dentry.path)}: not a directory")
            if name == b".":
                continue
            if name == b"..":
                dentry = self._cross(dentry.parent) if dentry.parent is not None else dentry
                continue
            child = self._child(dentry, name)
            if not child.inode.is_symlink or not (names or follow or path.endswith(b"/")):
                dentry = child
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise KernelError(ELOOP, f"{os.fsdecode(path)}: more than {MAX_SYMLINKS} symbolic links")
            target = child.mount.file_system.readlink(child.inode)
            names.extend(_names(target))
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
                yield self._cross(Dentry(mount, mount.file_system.inode(child_number), name, directory))
        for name, child in sorted(attached.items()):
            yield self._cross(_root_of(child, name, directory))

    def root(self) -> Dentry:
        """Return /."""
        if self._base is None:
            self._make_rootfs()
        assert self._base is not None
        return self._cross(_root_of(self._base, b"", None))

    def _child(self, directory: Dentry, name: bytes) -> Dentry:
        if len(name) > NAME_LEN:
            raise KernelError(ENAMETOOLONG, f"name of {len(name)} bytes, wanted at most {NAME_LEN}")
        if self._populate is not None and name in ON_DEMAND and directory.parent is None:
            self.populate()
            directory = self.root()
        child = self._child_or_none(directory, name)
        if child is None:
            where = os.fsdecode(Dentry(directory.mount, directory.inode, name, directory).path)
            raise KernelError(ENOENT, f"{where}: no such file or directory")
        return child

    def _child_or_none(self, directory: Dentry, name: bytes) -> Dentry | None:
        """Return what a name in a directory leads to, mounts crossed."""
        mount = directory.mount
        named = mount.children.get((directory.inode.number, name)) if mount.children else None
        if named is not None:
            return self._cross(_root_of(named, name, directory))
        number = mount.file_system.lookup(directory.inode, name)
        if number is None:
            return None
        return self._cross(Dentry(mount, mount.file_system.inode(number), name, directory))

    def _cross(self, dentry: Dentry) -> Dentry:
        """Return the root of what is mounted last over a place, or the place itself (follow_mount)."""
        while dentry.mount.children and (child := dentry.mount.children.get(dentry.place)) is not None:
            dentry = _root_of(child, dentry.name, dentry.parent)
        return dentry

    def _mount_point(self, path: bytes) -> Dentry:
        """Return a directory's place; what it lacks is made where that is on rootfs."""
        dentry = self.root()
        names = _names(path)
        while names:
            name = names.pop()
            lacks = dentry.mount.file_system is self._rootfs and self._rootfs.lookup(dentry.inode, name) is None
            if self._rootfs is not None and lacks and name not in {b".", b".."}:
                self._rootfs.mkdir(dentry.inode, name)
            dentry = self.resolve(name, start=dentry)
        if not dentry.inode.is_dir:
            raise KernelError(ENOTDIR, f"mount point {os.fsdecode(path)}: not a directory")
        return dentry

    def is_mount_point(self, dentry: Dentry) -> bool:
        """Whether something is mounted over a place, seen through whichever mount of its file system."""
        system, place = dentry.mount.file_system, dentry.place
        return any(
            mount.covers == place and mount.mountpoint is not None and mount.mountpoint.mount.file_system is system
            for mount in self._mounts
        )

    def _make_rootfs(self) -> None:
        if self._rootfs is None:
            from vmguest.fs.tmpfs import TmpfsFileSystem

            self._rootfs = TmpfsFileSystem(self._storage, "rootfs")
            rootfs = self._add(self._rootfs, self._rootfs.source)
            if self._base is not None:
                place = _root_of(rootfs, b"", None)
                _cover(self._base, place, place.place)
                self._mounts.insert(0, self._mounts.pop())
            self._base = rootfs

    def _add(
        self, file_system: "FileSystem", source: str, flags: frozenset[str] = frozenset(), root: Dentry | None = None
    ) -> Mount:
        inode = file_system.inode(file_system.root) if root is None else root.inode
        file_system.hold(inode)
        place = (inode.number, b"") if root is None else root.place
        mount = Mount(file_system, inode.number, place, source, flags=flags)
        self._mounts.append(mount)
        return mount


def writer_of(dentry: Dentry) -> "Writer":
    """Return what changes the file system of a place. Raises KernelError(EROFS) where it is mounted read-only."""
    writer = dentry.mount.file_system.writer
    if writer is None or "ro" in dentry.mount.flags:
        raise KernelError(EROFS, f"{os.fsdecode(dentry.path)}: mounted read-only")
    return writer


def _cover(mount: Mount, dentry: Dentry, place: Place) -> None:
    mount.mountpoint, mount.covers = dentry, place
    dentry.mount.children[place] = mount


def _root_of(mount: Mount, name: bytes, parent: Dentry | None) -> Dentry:
    return Dentry(mount, mount.file_system.inode(mount.root), name, parent)


def _names(path: bytes) -> list[bytes]:
    """Return a path's names, last first, so that pop() walks it."""
    return [name for name in reversed(path.split(b"/")) if name]
