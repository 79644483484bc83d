"""The smallest Linux for a QEMU guest: this machine's kernel, its modules, busybox, and an /init that reads files."""

import lzma
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.framework.rounds import Unavailable

MODULES = ("virtio_pci", "virtio_blk", "virtio_pmem", "nd_pmem", "ext4")
# Both kinds of disk show up under one name each; whichever there is holds the file system. What the kernel does not
# know of its command line, such as read_ahead=none, is in the environment.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /mnt
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod "/modules/$module"; done
if [ -e /dev/pmem0 ]; then disk=/dev/pmem0 options=ro,dax; else disk=/dev/vda options=ro; fi
if [ "$read_ahead" = none ]; then
	/bin/busybox blockdev --setra 0 "$disk"
	/bin/busybox blockdev --flushbufs "$disk"
fi
/bin/busybox mount -t ext2 -o "$options" "$disk" /mnt || /bin/busybox mount -t ext4 -o "$options" "$disk" /mnt
echo MOUNTED
read line
/bin/busybox find /mnt -type f -exec /bin/busybox cat {} + > /dev/null
echo READ
read line
"""


class Kernel(NamedTuple):
    """A kernel of this machine and its modules."""

    image: Path
    modules: Path


def find_kernel() -> Kernel:
    """Return a kernel with all that is needed. Raises Unavailable."""
    for image in sorted(Path("/boot").glob("vmlinuz-*"), reverse=True):
        kernel = Kernel(image, Path("/lib/modules") / image.name.partition("-")[2])
        if (kernel.modules / "modules.dep").exists() and _paths(kernel, "virtio_pmem") and _paths(kernel, "nd_pmem"):
            return kernel
    raise Unavailable("no kernel in /boot whose modules have virtio_pmem and nd_pmem")


def build(kernel: Kernel, directory: Path) -> Path:
    """Write the initramfs below `directory` and return its path. Raises Unavailable where a tool is missing."""
    busybox, cpio = shutil.which("busybox"), shutil.which("cpio")
    if busybox is None or cpio is None:
        raise Unavailable("busybox (a static one) and cpio are not both installed")
    root = directory / "root"
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    order = dict.fromkeys(path for name in MODULES for path in _paths(kernel, name))
    for path in order:
        content = (kernel.modules / path).read_bytes()
        plain = lzma.decompress(content) if path.endswith(".xz") else content
        (root / "modules" / _plain_name(path)).write_bytes(plain)
    (root / "modules/order").write_text("\n".join(map(_plain_name, order)) + "\n")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = directory / "initramfs"
    with archive.open("wb") as out:
        subprocess.run([cpio, "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), stdout=out, check=True)
    return archive


def _paths(kernel: Kernel, name: str) -> list[str]:
    """Return the files of a module and of those that it depends on, these first; none if it is built in or absent."""
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        if _plain_name(path).removesuffix(".ko").replace("-", "_") == name:
            return [*reversed(needs.split()), path]
    return []


def _plain_name(path: str) -> str:
    return Path(path).name.removesuffix(".xz")
