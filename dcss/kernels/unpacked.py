"""What a kernel's image holds packed: the kernel as it lies in storage, before it is relocated.

Sources: arch/s390/boot and arch/x86/boot/compressed of Linux. The packed kernel begins anywhere in the image; on x86_64
it is an ELF file, whose segments lie in storage by their physical addresses.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from dcss.errors import ImageError
from dcss.image.sources.compression import unpacked_at

_LEAST_BYTES: Final = 1 << 20
_MOST_BYTES: Final = 256 << 20
_ELF: Final = b"\x7fELF"


def unpacked_kernel(image: Path) -> bytes:
    """Return the kernel that an image holds. Raises ImageError where its compression is not known."""
    try:
        content = image.read_bytes()
    except OSError as error:
        raise ImageError(f"kernel {image}: cannot be read: {error.strerror}") from error
    for kernel in unpacked_at(content, _LEAST_BYTES, _MOST_BYTES):
        return _in_storage(kernel) if kernel.startswith(_ELF) else kernel
    raise ImageError(f"kernel {image}: found nothing packed, wanted a kernel packed by gzip, bzip2, xz or zstd")


def _in_storage(file: bytes) -> bytes:
    try:
        parts = list(_parts(file))
    except ELFError as error:
        raise ImageError(f"kernel: found an ELF file that cannot be read: {error}") from error
    start = min(address for address, _ in parts)
    storage = bytearray(max(address + len(part) for address, part in parts) - start)
    for address, part in parts:
        storage[address - start : address - start + len(part)] = part
    return bytes(storage)


def _parts(file: bytes) -> Iterator[tuple[int, bytes]]:
    for segment in ELFFile(io.BytesIO(file)).iter_segments("PT_LOAD"):
        if segment["p_filesz"]:
            yield segment["p_paddr"], segment.data()
