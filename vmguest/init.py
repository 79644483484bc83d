"""What init sets up when a path first leads there: /dev, /proc, /sys and /tmp, and a few directories of rootfs."""

import os

from dcss.errors import KernelError
from vmguest.fs.namei import Vfs, mkdir
from vmguest.fs.open import O_CREAT, O_TRUNC, O_WRONLY, open_file
from vmguest.fs.options import MountOptions
from vmguest.printk import LogBuffer

_MOUNTS = ((b"proc", "proc"), (b"sys", "sysfs"), (b"dev", "devtmpfs"), (b"tmp", "tmpfs"))


def populate(vfs: Vfs, host_name: str, log: LogBuffer) -> None:
    """Mount /dev, /proc, /sys and /tmp. Where no mount covers rootfs, make /etc with the host name, /root and /mnt."""
    for name, type_name in _MOUNTS:
        vfs.attach(vfs.types.get(type_name).mount(None, MountOptions(), vfs.file_systems), name)
    root = vfs.root()
    if not vfs.on_rootfs(root):
        return
    for name in (b"etc", b"mnt", b"root"):
        if root.mount.file_system.lookup(root.inode, name) is None:
            mkdir(vfs, b"/" + name)
    if not vfs.resolve(b"/etc").is_mount_root:
        try:
            with open_file(vfs, b"/etc/hostname", O_WRONLY | O_CREAT | O_TRUNC) as file:
                file.write(os.fsencode(host_name) + b"\n")
        except KernelError as error:  # real storage is full, and one must be able to look why
            log.log("err", f"init: /etc/hostname cannot be written: {error.strerror}")
