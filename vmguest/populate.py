"""What init makes before somebody looks around: /proc, /sys and /tmp, a few directories. Nobody pays unasked."""

import os
from typing import TYPE_CHECKING

from dcss.errors import KernelError
from vmguest.block.attributes import tree_of
from vmguest.fs.changes import mkdir, open_for_writing
from vmguest.fs.procfs import ProcFileSystem
from vmguest.fs.ramfs import RamFileSystem
from vmguest.fs.sysfs import SysFileSystem

if TYPE_CHECKING:
    from vmguest.kernel import Kernel


def populate(kernel: "Kernel") -> None:
    """Mount /proc, /sys and /tmp. Where no mount covers rootfs, make /etc with the host name in it, and /root."""
    vfs = kernel.vfs
    vfs.attach(ProcFileSystem(kernel), b"proc")
    vfs.attach(SysFileSystem(lambda: tree_of(kernel.dcssblk)), b"sys")
    vfs.attach(RamFileSystem(kernel.machine.storage, "tmpfs", minor=3), b"tmp")
    root = vfs.root()
    if root.mount.file_system.type_name != "rootfs":
        return
    for name in (b"etc", b"root"):
        if root.mount.file_system.lookup(root.inode, name) is None:
            mkdir(vfs, b"/" + name)
    if not vfs.is_mount_point(b"/etc"):
        try:
            with open_for_writing(vfs, b"/etc/hostname") as file:
                file.write(os.fsencode(kernel.name) + b"\n")
        except KernelError as error:  # real storage is full, and one must be able to look why
            kernel.log.log("err", f"init: /etc/hostname cannot be written: {error.strerror}")
