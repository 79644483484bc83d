"""What mount(2) does: a file system at a place, a part of the tree at another one, other options (fs/namespace.c)."""

import os
from errno import EACCES, EBUSY, EINVAL, ENODEV, ENXIO
from typing import TYPE_CHECKING

from dcss.errors import KernelError
from vmguest.fs.ext2fs import Ext2FileSystem
from vmguest.fs.filesystem import TYPES
from vmguest.fs.mount import Dentry, Mount
from vmguest.fs.options import MountOptions, refuse_data

if TYPE_CHECKING:
    from vmguest.block.device import BlockDevice
    from vmguest.fs.filesystem import FileSystem
    from vmguest.kernel import Kernel

_FIRST_TMPFS_MINOR = 16  # of the numbers without a device; those below are taken by what there is one of


def mount_at_boot(kernel: "Kernel", device: str, at: str, options: MountOptions) -> Mount:
    """Mount ext2 from a disk, /dev/ before its name or not, at a directory that rootfs makes. Raises KernelError."""
    if options.verbs:
        raise KernelError(EINVAL, f"mount {device} at {at}: option {min(options.verbs)} says nothing here")
    disk = kernel.dcssblk.by_name(device.removeprefix("/dev/"))
    if disk is None:
        raise KernelError(ENXIO, f"mount {device} at {at}: no such block device")
    file_system = ext2_on(kernel, disk, options)
    try:
        return kernel.vfs.mount(file_system, at, options.mount_flags)
    except KernelError:
        kernel.vfs.release_unused(file_system)
        raise


def mount_new(
    kernel: "Kernel", source: str, device: Dentry | None, at: Dentry, *, type_name: str, options: MountOptions
) -> Mount:
    """Mount a file system over a place; one of a type that needs a disk from the node of a block device.

    Raises KernelError: ENODEV no such type, ENOTBLK no block device, ENXIO no such disk, EACCES, EINVAL.
    """
    if type_name == "ext2":
        if device is None:
            raise KernelError(ENXIO, f"mount {source}: no such block device")
        if "nodev" in device.mount.flags:
            raise KernelError(EACCES, f"{os.fsdecode(device.path)}: mounted with nodev")
        file_system: FileSystem = ext2_on(kernel, kernel.devices.block_device(device.inode), options)
    else:
        file_system = without_device(kernel, type_name, options)
    try:
        return kernel.vfs.graft(file_system, at, source=source, flags=options.mount_flags)
    except KernelError:
        kernel.vfs.release_unused(file_system)
        raise


def ext2_on(kernel: "Kernel", disk: "BlockDevice", options: MountOptions) -> Ext2FileSystem:
    """Return the file system of a disk: where it is mounted already that one, with the options that it has.

    A disk that cannot be written is mounted ro, unless rw was asked for, as mount(8) does.
    """
    for mount in kernel.vfs.mounts:
        mounted = mount.file_system
        if isinstance(mounted, Ext2FileSystem) and mounted.device is disk:
            wanted = next((option for option in options.data if option in {"xip", "dax"}), None)
            if wanted != mounted.in_place:
                has = ",".join(mounted.options)
                kernel.log.log("info", f"EXT2-fs ({disk.name}): mounted already, with {has}: its options stay")
            return mounted
    if disk.read_only and options.read_only is None:
        kernel.log.log("info", f"mount: /dev/{disk.name}: write-protected, mounting read-only")
        options = options._replace(read_only=True)
    return Ext2FileSystem(disk, options, kernel.machine, kernel.log)


def without_device(kernel: "Kernel", type_name: str, options: MountOptions) -> "FileSystem":
    """Return a file system of a type that needs no disk; of all but tmpfs there is one. Raises KernelError(ENODEV)."""
    from vmguest.fs.devfs import DevFileSystem
    from vmguest.fs.procfs import ProcFileSystem
    from vmguest.fs.sysfs import SysFileSystem
    from vmguest.fs.tmpfs import TmpfsFileSystem

    if ("nodev", type_name) not in TYPES or type_name == "rootfs":
        raise KernelError(ENODEV, f"file system type {type_name}: unknown")
    refuse_data(type_name, options)
    systems = [mount.file_system for mount in kernel.vfs.mounts]
    if type_name == "tmpfs":
        taken = {system.device_number for system in systems}
        minor = next(n for n in range(_FIRST_TMPFS_MINOR, _FIRST_TMPFS_MINOR + len(taken) + 1) if (0, n) not in taken)
        return TmpfsFileSystem(kernel.machine.storage, type_name, minor)
    there = next((system for system in systems if system.type_name == type_name), None)
    if there is not None:
        return there
    if type_name == "proc":
        return ProcFileSystem(kernel)
    if type_name == "sysfs":
        return SysFileSystem(kernel.sysfs_tree)
    return DevFileSystem(kernel.dcssblk)


def bind(kernel: "Kernel", source: Dentry, at: Dentry, flags: frozenset[str] = frozenset()) -> Mount:
    """Show what is at `source` at another place too, without what is mounted below it.

    It has the flags of what it shows, or where `flags` are given those, for which mount(8) calls mount(2) once more.
    Raises KernelError: ENOTDIR for a directory over something else, or the other way round, ENOENT one was removed.
    """
    mount = source.mount
    return kernel.vfs.graft(mount.file_system, at, root=source, source=mount.source, flags=flags or mount.flags)


def remount(kernel: "Kernel", at: Dentry, options: MountOptions) -> None:
    """Change the options of a mount; with bind of this mount alone, else of its file system, and so of all its mounts.

    Raises KernelError: EINVAL nothing is mounted there, EBUSY files are open for writing, what the file system says.
    """
    mount = at.mount
    if not at.is_mount_root:
        raise KernelError(EINVAL, f"remount {os.fsdecode(at.path)}: not a mount point")
    alone = "bind" in options.verbs
    touched = [mount] if alone else [m for m in kernel.vfs.mounts if m.file_system is mount.file_system]
    writers = sum(other.writers for other in touched)
    if options.read_only and writers:
        raise KernelError(EBUSY, f"remount {os.fsdecode(at.path)} ro: {writers} files are open for writing")
    if not alone:
        mount.file_system.remount(options)
    keep = frozenset({"ro"}) & mount.flags if options.read_only is None else frozenset()
    mount.flags = options.mount_flags | keep
