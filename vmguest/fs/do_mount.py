"""What mount(2) does: a file system at a place, a part of the tree at another one, other options (fs/namespace.c)."""

import os
from errno import EACCES, EBUSY, EINVAL, ENODEV, ENOTDIR, ENXIO

from dcss.errors import KernelError
from vmguest.block.device import BlockDevice
from vmguest.credentials import ROOT
from vmguest.fs.filesystem import FileSystem
from vmguest.fs.mount import Dentry, Mount
from vmguest.fs.namei import Vfs, path_names
from vmguest.fs.options import MountOptions

BOOT_TYPE = "ext2"  # of what a guest's configuration mounts, unless it says otherwise


def mount_at_boot(vfs: Vfs, device: str, at: str, options: MountOptions, type_name: str = BOOT_TYPE) -> Mount:
    """Mount a disk, /dev/ before its name or not, at a directory that rootfs makes; a type may need no disk.

    What lies at that directory already, or lower, is covered. Raises KernelError.
    """
    if options.verbs:
        raise KernelError(EINVAL, f"mount {device} at {at}: option {min(options.verbs)} says nothing here")
    disk = disk_at_boot(vfs, device, at) if vfs.types.get(type_name).needs_device else None
    file_system = _get_file_system(vfs, type_name, disk, options)
    try:
        path = path_names(os.fsencode(at))
        mount = None if path else vfs.mount_root(file_system, options.mount_flags)
        return mount or vfs.graft(file_system, _make_mount_point(vfs, path), flags=options.mount_flags)
    except KernelError:
        vfs.release_unused(file_system)
        raise


def disk_at_boot(vfs: Vfs, device: str, at: str) -> BlockDevice:
    """Return the disk that is to be mounted at a path. Raises KernelError(ENXIO)."""
    disk = vfs.devices.disks.by_name(device.removeprefix("/dev/"))
    if disk is None:
        raise KernelError(ENXIO, f"mount {device} at {at}: no such block device")
    return disk


def do_new_mount(
    vfs: Vfs, source: str, device: Dentry | None, at: Dentry, *, type_name: str, options: MountOptions
) -> Mount:
    """Mount a file system over a place; one of a type that needs a disk from a block device's node.

    Raises KernelError: ENODEV no such type, ENOTBLK no block device, ENXIO no such disk, EACCES, EINVAL.
    """
    disk = None
    if vfs.types.get(type_name).needs_device:
        if device is None:
            raise KernelError(ENXIO, f"mount {source}: no such block device")
        if "nodev" in device.mount.flags:
            raise KernelError(EACCES, f"{os.fsdecode(device.path)}: mounted with nodev")
        disk = vfs.devices.block_device(device.inode)
    file_system = _get_file_system(vfs, type_name, disk, options)
    try:
        return vfs.graft(file_system, at, source=source, flags=options.mount_flags)
    except KernelError:
        vfs.release_unused(file_system)
        raise


def do_loopback(vfs: Vfs, source: Dentry, at: Dentry, flags: frozenset[str] = frozenset()) -> Mount:
    """Show what is at `source` at another place too, without what is mounted below it: a bind mount.

    It has the flags of what it shows, or where `flags` are given those, for which mount(8) calls mount(2) once more.
    Raises KernelError: ENOTDIR for a directory over something else, or the other way round, ENOENT one was removed.
    """
    mount = source.mount
    return vfs.graft(mount.file_system, at, root=source, source=mount.source, flags=flags or mount.flags)


def do_remount(vfs: Vfs, at: Dentry, options: MountOptions) -> None:
    """Change the options of a mount; with bind of this mount alone, else of its file system, and so of all its mounts.

    Raises KernelError: EINVAL nothing is mounted there, EBUSY files are open for writing, what the file system says.
    """
    mount = at.mount
    if not at.is_mount_root:
        raise KernelError(EINVAL, f"remount {os.fsdecode(at.path)}: not a mount point")
    alone = "bind" in options.verbs
    touched = [mount] if alone else [m for m in vfs.mounts if m.file_system is mount.file_system]
    writers = sum(other.writers for other in touched)
    if options.read_only and writers:
        raise KernelError(EBUSY, f"remount {os.fsdecode(at.path)} ro: {writers} files are open for writing")
    if not alone:
        mount.file_system.remount(options)
    keep = frozenset({"ro"}) & mount.flags if options.read_only is None else frozenset()
    mount.flags = options.mount_flags | keep


def _get_file_system(vfs: Vfs, type_name: str, disk: BlockDevice | None, options: MountOptions) -> FileSystem:
    kind = vfs.types.get(type_name)
    if kind.internal:
        raise KernelError(ENODEV, f"file system type {type_name}: the kernel's own")
    return kind.mount(disk, options, vfs.file_systems)


def _make_mount_point(vfs: Vfs, names: list[bytes]) -> Dentry:
    """Return a directory's place; what it lacks is made where that is on rootfs."""
    dentry = vfs.root_of_task()
    path = b"/" + b"/".join(reversed(names))
    while names:
        name = names.pop()
        file_system = dentry.mount.file_system
        if vfs.on_rootfs(dentry) and file_system.lookup(dentry.inode, name) is None and name not in {b".", b".."}:
            assert file_system.writer is not None
            file_system.writer.mkdir(dentry.inode, name, 0o755, ROOT)
        dentry = vfs.resolve(name, start=dentry)
    if not dentry.inode.is_dir:
        raise KernelError(ENOTDIR, f"mount point {os.fsdecode(path)}: not a directory")
    return dentry
