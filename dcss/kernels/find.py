"""Find the kernel that a guest's plan names: a file, the directory of a build, or a package of Debian."""

from functools import lru_cache
from pathlib import Path
from typing import Final

from dcss.config.sources import DebianKernel, KernelSource
from dcss.errors import ImageError
from dcss.kernels.debian import debian_busybox, debian_kernel
from dcss.kernels.image import check_image
from dcss.kernels.kernel import Kernel
from dcss.kernels.modules import Modules

_IMAGES: Final = {
    "s390x": ("arch/s390/boot/bzImage", "bzImage", "vmlinuz", "image"),
    "x86_64": ("arch/x86/boot/bzImage", "bzImage", "vmlinuz"),
}


@lru_cache(8)
def find_kernel(source: KernelSource, arch: str) -> Kernel:
    """Return the kernel of a source, fetched or unpacked if it must be. Raises ImageError."""
    return debian_kernel(source, arch) if isinstance(source, DebianKernel) else _kernel_at(source.path, arch)


def _kernel_at(path: Path, arch: str) -> Kernel:
    if path.is_dir():
        image = next((path / name for name in _IMAGES[arch] if (path / name).is_file()), None)
        image = image or next(iter(sorted(path.glob("vmlinuz-*"))), None)
        if image is None:
            raise ImageError(f"kernel {path}: found none of {', '.join(_IMAGES[arch])}, wanted a kernel's image")
        modules = path
    elif path.is_file():
        image, modules = path, _no_modules(path)
    else:
        raise ImageError(f"kernel {path}: found no such file, wanted a kernel's image or the directory of a build")
    check_image(image, arch)  # before a busybox is fetched for it
    return Kernel(str(path), image, Modules(modules), debian_busybox(arch))


def _no_modules(image: Path) -> Path:
    """Return where the modules of an image are that stands alone, as installed ones do: /lib/modules/RELEASE."""
    release = image.name.removeprefix("vmlinuz-")
    return Path("/lib/modules") / release if release != image.name else image.parent / "modules"
