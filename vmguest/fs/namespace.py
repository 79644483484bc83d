"""The tree of mounts of a guest (fs/namespace.c)."""

import os
from collections.abc import Callable
from errno import EBUSY, EINVAL, ENOENT, ENOTDIR

from dcss.errors import KernelError
from vmguest.fs.filesystem import FileSystem
from vmguest.fs.filesystem_types import FileSystemTypes
from vmguest.fs.mount import Dentry, Mount, Place, root_of
from vmguest.fs.options import MountOptions


class MountNamespace:
    """The mounts of a guest, over rootfs, which is made when it is needed: most guests mount something else at /.

    `populate` is called once, before the first path leads to what init mounts; it calls `attach` for that.
    """

    def __init__(self, types: FileSystemTypes, populate: Callable[[], None]) -> None:
        self.types = types
        self._rootfs: FileSystem | None = None
        self._base: Mount | None = None  # what the tree begins with
        self._mounts: list[Mount] = []
        self.internal_mounts: dict[str, Mount] = {}  # by type: of what has no place in the tree, as pipes
        self._populate: Callable[[], None] | None = populate

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """All mounts, also those that others cover, in the order in which they were made; rootfs first, if needed."""
        return tuple(self._mounts)

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """What is mounted, each once."""
        return tuple({id(mount.file_system): mount.file_system for mount in self._mounts}.values())

    @property
    def populated(self) -> bool:
        """Whether init has mounted what it mounts."""
        return self._populate is None

    def root(self) -> Dentry:
        """Return /."""
        if self._base is None:
            self._make_rootfs()
        assert self._base is not None
        return self.follow_mount(root_of(self._base, b"", None))

    def follow_mount(self, dentry: Dentry) -> Dentry:
        """Return the root of what is mounted last over a place, or the place itself."""
        while dentry.mount.children and (child := dentry.mount.children.get(dentry.place)) is not None:
            dentry = root_of(child, dentry.name, dentry.parent)
        return dentry

    def lookup(self, directory: Dentry, name: bytes) -> Dentry | None:
        """Return what a name in a directory leads to, mounts crossed, or None."""
        mount = directory.mount
        named = mount.children.get((directory.inode.number, name)) if mount.children else None
        if named is not None:
            return self.follow_mount(root_of(named, name, directory))
        number = mount.file_system.lookup(directory.inode, name)
        if number is None:
            return None
        return self.follow_mount(Dentry(mount, mount.file_system.inode(number), name, directory))

    def mount_root(self, file_system: FileSystem, flags: frozenset[str]) -> Mount | None:
        """Mount at / what the tree begins with; return None where it has begun."""
        if self._base is not None:
            return None
        self._base = self._add(file_system, file_system.source, flags)
        return self._base

    def graft(
        self,
        file_system: FileSystem,
        dentry: Dentry,
        *,
        root: Dentry | None = None,
        source: str | None = None,
        flags: frozenset[str] = frozenset(),
    ) -> Mount:
        """Mount over a place, only the part below `root` where that is given; directories over directories only.

        It goes over what lies over that place already, which a working directory may be below. `source` is what
        /proc/mounts shows, where that is not the file system's own. Raises KernelError: ENOTDIR, and ENOENT where the
        place, or `root`, was removed while it was a working directory.
        """
        dentry = self.follow_mount(dentry)
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
        """Have init mount what it mounts, unless it has."""
        populate, self._populate = self._populate, None
        if populate is not None:
            self._make_rootfs()
            populate()

    def attach(self, file_system: FileSystem, name: bytes) -> None:
        """Mount at /`name`, unless something is; the root need not have that directory, and may be read-only."""
        root = self.root()
        there = self.lookup(root, name)
        if there is None or not there.is_mount_root:
            mount = self._add(file_system, file_system.source)
            _cover(mount, Dentry(root.mount, root.inode, name, root), (root.inode.number, name))

    def detach(self, at: Dentry) -> None:
        """Unmount what is mounted at a place. Raises KernelError: EBUSY in use, EINVAL nothing is mounted there."""
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

    def release_unused(self, file_system: FileSystem) -> None:
        """Unmount a file system that no mount is of, any more or after all."""
        if all(mount.file_system is not file_system for mount in self._mounts):
            file_system.unmount()

    def is_mount_point(self, dentry: Dentry) -> bool:
        """Whether something is mounted over a place, seen through whichever mount of its file system."""
        system, place = dentry.mount.file_system, dentry.place
        return any(
            mount.covers == place and mount.mountpoint is not None and mount.mountpoint.mount.file_system is system
            for mount in self._mounts
        )

    def on_rootfs(self, dentry: Dentry) -> bool:
        """Whether a place is on rootfs, where boot makes the directories that it mounts at."""
        return dentry.mount.file_system is self._rootfs

    def _make_rootfs(self) -> None:
        if self._rootfs is None:
            self._rootfs = self.types.get("rootfs").mount(None, MountOptions(), ())
            rootfs = self._add(self._rootfs, self._rootfs.source)
            if self._base is not None:
                place = root_of(rootfs, b"", None)
                _cover(self._base, place, place.place)
                self._mounts.insert(0, self._mounts.pop())
            self._base = rootfs

    def _add(
        self, file_system: FileSystem, source: str, flags: frozenset[str] = frozenset(), root: Dentry | None = None
    ) -> Mount:
        inode = file_system.inode(file_system.root) if root is None else root.inode
        file_system.hold(inode)
        place = (inode.number, b"") if root is None else root.place
        mount = Mount(file_system, inode.number, place, source, flags=flags)
        self._mounts.append(mount)
        return mount


def _cover(mount: Mount, dentry: Dentry, place: Place) -> None:
    mount.mountpoint, mount.covers = dentry, place
    dentry.mount.children[place] = mount
