"""Debian's kernels: the package's image and modules, unpacked once into the user's cache, and a busybox beside them."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dcss.config.sources import DebianKernel, DebianSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeFile
from dcss.host.paths import cache_directory
from dcss.image.sources.contents import read_contents
from dcss.image.sources.debian.deb_file import DebFile
from dcss.image.sources.debian.packages import fetch_packages, find_packages, own_suite
from dcss.kernels.kernel import Kernel
from dcss.kernels.modules import Modules

ARCHITECTURES: Final = {"s390x": "s390x", "x86_64": "amd64"}  # Debian's names
DEFAULT_PACKAGES: Final = {"s390x": "linux-image-s390x", "x86_64": "linux-image-amd64"}
_BUSYBOX_PACKAGE: Final = "busybox-static"
# A kernel's package by version; from 7.2 on, its image and modules are in packages of their own.
_KERNEL_PACKAGES: Final = re.compile(r"linux-(?:image|binary|modules)-.+")
_NOTHING_ELSE: Final = re.compile(r"(?!)")
_IMAGE: Final = re.compile(rb"(?:\./)?(?:boot|usr/lib/modules)/(?P<name>vmlinuz-[^/]+|[^/]+/vmlinuz)")
# Where all modules lie that an initramfs may need, and what these need.
_MODULES: Final = re.compile(
    rb"(?:\./)?(?:usr/)?lib/modules/[^/]+/kernel/(?P<name>(?:arch|crypto|lib|fs|drivers/(?:s390|char|virtio|block|nvdimm|dax|md))/.*"
    rb"\.ko(?:\.\w+)?)"
)
_BUSYBOX: Final = re.compile(rb"(?:\./)?(?:usr/)?bin/(?P<name>busybox)")


def debian_busybox(arch: str, suite: str | None = None) -> Path:
    """Return the static busybox of the machine's suite, or where it is not Debian, of `suite`. Raises ImageError."""
    source = DebianSource((_BUSYBOX_PACKAGE,), suite=own_suite() or suite, arch=ARCHITECTURES[arch])
    return _unpacked(fetch_packages(source, _NOTHING_ELSE).files, _BUSYBOX) / "busybox"


def debian_kernel(source: DebianKernel, arch: str) -> Kernel:
    """Return a kernel of Debian's archive. Raises ImageError where it cannot be had."""
    package = source.package or DEFAULT_PACKAGES[arch]
    wanted = DebianSource((package,), suite=source.suite, arch=ARCHITECTURES[arch])
    try:
        files = fetch_packages(wanted, _KERNEL_PACKAGES).files
    except ImageError as error:
        raise ImageError(f"{error}{_others(wanted)}") from error
    unpacked = _unpacked(files, _IMAGE, _MODULES)
    images = sorted((*unpacked.glob("vmlinuz-*"), *unpacked.glob("*/vmlinuz")))
    if not images:
        raise ImageError(f"package {package}: found no kernel in it or in what it depends on, wanted boot/vmlinuz-…")
    image = images[-1]
    release = image.parent.name if image.name == "vmlinuz" else image.name.removeprefix("vmlinuz-")
    version = files[0].name.split("_")[1]
    return Kernel(f"{release} (Debian's {version})", image, Modules(unpacked), debian_busybox(arch, source.suite))


def _others(source: DebianSource) -> str:
    """Return a hint at the kernels that an archive lists beside the one that cannot be had."""
    try:
        names = [name for name in find_packages(source, "linux-image-[0-9].*") if not name.endswith("-dbg")]
    except ImageError:
        return ""
    return f"; the kernels that its lists name are {', '.join(names)}: try another by package:" if names else ""


def _unpacked(packages: Sequence[Path], *wanted: re.Pattern[bytes]) -> Path:
    """Return a directory of the cache that holds the files of packages that match."""
    top = cache_directory() / "kernels"
    top.mkdir(mode=0o700, exist_ok=True)
    names = [*(package.name for package in packages), *(repr(each.pattern) for each in wanted)]
    kept = top / f"{packages[0].stem}.{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"
    if not kept.exists():
        partial = Path(tempfile.mkdtemp(prefix=f"{kept.name}.", dir=top))
        try:
            for package in packages:
                _unpack(
                    package, partial, lambda path: next(filter(None, (each.fullmatch(path) for each in wanted)), None)
                )
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
