"""The file systems of the guest kernel, each imported when it is first mounted.

Most guests mount ext2 alone. Modules that they do not use, loaded between those that they do, cost each guest some
forty copied pages, since objects in use then lie further apart.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from vmguest.block.device import BlockDevice
from vmguest.fs.devices import Devices
from vmguest.fs.ext2fs import mount_ext2
from vmguest.fs.filesystem import FileSystem
from vmguest.fs.filesystem_types import FileSystemType, FileSystemTypes
from vmguest.fs.options import MountOptions, refuse_data
from vmguest.machine import VirtualMachine
from vmguest.printk import LogBuffer
from vmguest.storage import RealStorage

if TYPE_CHECKING:
    from vmguest.fs.procfs import ProcSource
    from vmguest.fs.sysfs import SysfsDirectory


def builtin_types(
    machine: VirtualMachine,
    log: LogBuffer,
    devices: Devices,
    sysfs_tree: "Callable[[], SysfsDirectory]",
    proc_source: "ProcSource",
) -> FileSystemTypes:
    """Return the registry with every type, in the order in which /proc/filesystems lists them."""
    types = FileSystemTypes()
    for new in (
        FileSystemType("sysfs", partial(_mount_single, "sysfs", partial(_sysfs, sysfs_tree))),
        FileSystemType("rootfs", partial(_mount_rootfs, machine.storage), internal=True),
        FileSystemType("proc", partial(_mount_single, "proc", partial(_procfs, proc_source))),
        FileSystemType("tmpfs", partial(_mount_tmpfs, machine.storage)),
        FileSystemType("devtmpfs", partial(_mount_single, "devtmpfs", partial(_devfs, devices))),
        FileSystemType("ext2", partial(mount_ext2, machine, log), needs_device=True),
    ):
        types.register(new)
    return types


def _mount_single(
    type_name: str,
    make: Callable[[], FileSystem],
    _device: BlockDevice | None,
    options: MountOptions,
    mounted: Sequence[FileSystem],
) -> FileSystem:
    """Return the file system of a type that there is one of, made at its first mount. Raises KernelError(EINVAL)."""
    refuse_data(type_name, options)
    return next((system for system in mounted if system.type_name == type_name), None) or make()


def _sysfs(tree: "Callable[[], SysfsDirectory]") -> FileSystem:
    from vmguest.fs.sysfs import SysFileSystem

    return SysFileSystem(tree)


def _procfs(source: "ProcSource") -> FileSystem:
    from vmguest.fs.procfs import ProcFileSystem

    return ProcFileSystem(source)


def _devfs(devices: Devices) -> FileSystem:
    from vmguest.fs.devfs import DevFileSystem

    return DevFileSystem(devices)


def _mount_rootfs(
    storage: RealStorage, _device: BlockDevice | None, _options: MountOptions, _mounted: Sequence[FileSystem]
) -> FileSystem:
    from vmguest.fs.tmpfs import TmpfsFileSystem

    return TmpfsFileSystem(storage, "rootfs")


def _mount_tmpfs(
    storage: RealStorage, _device: BlockDevice | None, options: MountOptions, mounted: Sequence[FileSystem]
) -> FileSystem:
    from vmguest.fs.tmpfs import mount_tmpfs

    return mount_tmpfs(storage, options, mounted)
