"""What init makes before somebody looks around: /dev, /proc, /sys and /tmp, a few directories. Nobody pays unasked."""

import os
from typing import TYPE_CHECKING

from dcss.errors import KernelError
from vmguest.fs.changes import mkdir
from vmguest.fs.namespace import without_device
from vmguest.fs.open import O_CREAT, O_TRUNC, O_WRONLY, open_file
from vmguest.fs.options import MountOptions

if TYPE_CHECKING:
    from vmguest.kernel import Kernel


def populate(kernel: "Kernel") -> None:
    """Mount /dev, /proc, /sys and /tmp. Where no mount covers rootfs, make /etc with the host name, /root and /mnt."""
    vfs = kernel.vfs
    for name, type_name in ((b"proc", "proc"), (b"sys", "sysfs"), (b"dev", "devtmpfs"), (b"tmp", "tmpfs")):
        vfs.attach(without_device(kernel, type_name, MountOptions()), name)
    root = vfs.root()
    if root.mount.file_system.type_name != "rootfs":
        return
    for name in (b"etc", b"mnt", b"root"):
        if root.mount.file_system.lookup(root.inode, name) is None:
            mkdir(vfs, b"/" + name)
    if not vfs.resolve(b"/etc").is_mount_root:
        try:
            with open_file(vfs, b"/etc/hostname", O_WRONLY | O_CREAT | O_TRUNC) as file:
                file.write(os.fsencode(kernel.name) + b"\n")
        except KernelError as error:  # real storage is full, and one must be able to look why
            kernel.log.log("err", f"init: /etc/hostname cannot be written: {error.strerror}")
