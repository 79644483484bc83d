"""Tell a kernel's image from another file, and one architecture's from another's.

Sources: S390EP of arch/s390/boot/head.S, where QEMU looks for it, too; "HdrS" of Documentation/arch/x86/boot.rst.
"""

from pathlib import Path
from typing import Final

from dcss.errors import ImageError

_MAGICS: Final = {"s390x": (0x10008, b"S390EP"), "x86_64": (0x202, b"HdrS")}
_ELF: Final = b"\x7fELF"


def check_image(image: Path, arch: str) -> None:
    """Raise ImageError unless a file is a bootable image of a kernel of this architecture."""
    try:
        with image.open("rb") as file:
            head = file.read(max(offset + len(magic) for offset, magic in _MAGICS.values()))
    except OSError as error:
        raise ImageError(f"kernel {image}: cannot be read: {error.strerror}") from error
    archs = [name for name, (offset, magic) in _MAGICS.items() if head[offset : offset + len(magic)] == magic]
    if arch in archs:
        return
    if archs:
        found = f"a kernel for {archs[0]}"
    else:
        found = "an ELF file, such as vmlinux" if head.startswith(_ELF) else "no kernel"
    raise ImageError(f"kernel {image}: found {found}, wanted an image (bzImage, vmlinuz) for arch: {arch}")
