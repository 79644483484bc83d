"""mke2fs: make an empty ext2 on a disk, laid out as for an image of this project."""

import os
import stat
from errno import EBUSY, EINVAL, ENOTBLK, EROFS
from time import time
from typing import TYPE_CHECKING

from dcss.abi.page import PAGE_SIZE
from dcss.errors import ImageError, KernelError
from vmguest.fs.mount import Dentry
from vmguest.fs.open import O_RDWR
from vmguest.shell.context import Builtin, Context, number, operands, options, shown

if TYPE_CHECKING:
    from dcss.ext2.mkfs.image import PlacedImage


def mke2fs(context: Context) -> None:
    """Make an empty ext2 with blocks of 4096 bytes; -b says that, too, and nothing else is taken; -q prints nothing."""
    given, words = options(context, "Fq", "bLtm")
    (name,) = operands(words, at_most=1)
    with context.reporting(shown(name)):
        if "b" in given and number(given["b"], "bytes of a block") != PAGE_SIZE:
            raise KernelError(EINVAL, f"-b: wanted {PAGE_SIZE}, the only size that executes in place")
        if given.get("t", b"ext2") != b"ext2":
            raise KernelError(EINVAL, "-t: wanted ext2")
        dentry = context.dentry(name)
        _check_unused(context, dentry)
        with context.open(name, O_RDWR) as opened:
            made = _empty(opened.file.size_bytes)

            def write(content: bytes, offset: int) -> None:
                opened.position = offset
                opened.write_all(content)

            made.write_empty(write)
        if "q" not in given:
            layout = made.layout
            context.out.line(f"Creating filesystem with {layout.blocks} 4k blocks and {layout.geometry.inodes} inodes")


def _check_unused(context: Context, dentry: Dentry) -> None:
    """Refuse what is no disk, cannot be written, or is mounted, as mke2fs does."""
    if not stat.S_ISBLK(dentry.inode.mode):
        raise KernelError(ENOTBLK, f"{os.fsdecode(dentry.path)}: not a block device")
    device = context.kernel.devices.block_device(dentry.inode)
    if device.read_only:
        raise KernelError(EROFS, f"{device.name}: is read-only")
    if device.use_count:
        raise KernelError(EBUSY, f"{device.name}: is mounted, or open")


def _empty(size_bytes: int) -> "PlacedImage":
    from dcss.ext2.mkfs.image import place  # the builder is needed for nothing else in a guest
    from dcss.ext2.mkfs.tree import NodeAttributes, Tree, TreeDirectory

    root = TreeDirectory(NodeAttributes(stat.S_IFDIR | 0o755, 0, 0, int(time())))
    try:
        return place(Tree(root), 0, size_bytes // PAGE_SIZE * PAGE_SIZE)
    except ImageError as error:
        raise KernelError(EINVAL, str(error)) from error


COMMANDS = {
    b"mke2fs": Builtin(mke2fs, "mke2fs [-F] [-q] [-b 4096] DEVICE"),
    b"mkfs.ext2": Builtin(mke2fs, "mkfs.ext2 [-F] [-q] [-b 4096] DEVICE"),
}
