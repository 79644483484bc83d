"""Debian's kernels: the package's image and modules, unpacked once into the user's cache, and a busybox beside them."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from dcss.config.sources import DebianKernel, DebianSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeFile
from dcss.host.paths import cache_directory
from dcss.image.sources.contents import read_contents
from dcss.image.sources.debian.deb_file import DebFile
from dcss.image.sources.debian.packages import fetch_packages
from dcss.kernels.kernel import Kernel
from dcss.kernels.modules import Modules

ARCHITECTURES: Final = {"s390x": "s390x", "x86_64": "amd64"}  # Debian's names
DEFAULT_PACKAGES: Final = {"s390x": "linux-image-s390x", "x86_64": "linux-image-cloud-amd64"}
_BUSYBOX_PACKAGE: Final = "busybox-static"
_IMAGE: Final = re.compile(rb"(?:\./)?boot/(?P<name>vmlinuz-.+)")
# Where all modules lie that an initramfs may need, and what these need.
_MODULES: Final = re.compile(
    rb"(?:\./)?(?:usr/)?lib/modules/[^/]+/kernel/(?P<name>(?:arch|crypto|lib|fs|drivers/(?:s390|char|virtio|block|nvdimm|dax|md))/.*"
    rb"\.ko(?:\.\w+)?)"
)
_BUSYBOX: Final = re.compile(rb"(?:\./)?(?:usr/)?bin/(?P<name>busybox)")


def debian_busybox(arch: str) -> Path:
    """Return the static busybox of Debian's archive, of the machine's own suite. Raises ImageError."""
    return _busybox(fetch_packages(DebianSource((_BUSYBOX_PACKAGE,), arch=ARCHITECTURES[arch])).files)


def debian_kernel(source: DebianKernel, arch: str) -> Kernel:
    """Return a kernel of Debian's archive. Raises ImageError where it cannot be had."""
    package = source.package or DEFAULT_PACKAGES[arch]
    wanted = DebianSource((package, _BUSYBOX_PACKAGE), suite=source.suite, arch=ARCHITECTURES[arch])
    files = fetch_packages(wanted).files
    for path in files:
        if not path.name.startswith("linux-image-"):
            continue
        images = sorted(_unpacked(path, _IMAGE, _MODULES).glob("vmlinuz-*"))
        if images:
            release = images[0].name.removeprefix("vmlinuz-")
            return Kernel(f"{release} ({path.name})", images[0], Modules(images[0].parent), _busybox(files))
    raise ImageError(f"package {package}: found no kernel in it or in what it depends on, wanted boot/vmlinuz-…")


def _busybox(files: Iterable[Path]) -> Path:
    return next(_unpacked(path, _BUSYBOX) / "busybox" for path in files if path.name.startswith(f"{_BUSYBOX_PACKAGE}_"))


def _unpacked(package: Path, *wanted: re.Pattern[bytes]) -> Path:
    """Return a directory of the cache that holds the files of a package that match."""
    top = cache_directory() / "kernels"
    top.mkdir(mode=0o700, exist_ok=True)
    kept = top / package.stem
    if not kept.exists():
        partial = Path(tempfile.mkdtemp(prefix=f"{package.stem}.", dir=top))
        try:
            _unpack(package, partial, lambda path: next(filter(None, (each.fullmatch(path) for each in wanted)), None))
            _keep(partial, kept)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return kept


def _unpack(package: Path, directory: Path, wanted: Callable[[bytes], re.Match[bytes] | None]) -> None:
    files: dict[TreeFile, list[bytes]] = {}
    for member in DebFile(package).members().members:
        found = wanted(member.path)
        if found is not None and isinstance(member.node, TreeFile):
            files.setdefault(member.node, []).append(found["name"])
    for file, content in read_contents(files):
        for name in files[file]:
            path = directory / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _keep(partial: Path, kept: Path) -> None:
    """Give a directory its name, unless another command was first."""
    try:
        partial.rename(kept)
    except OSError:
        if not kept.exists():
            raise
