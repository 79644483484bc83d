"""Unpacked kernels in the user's cache: machines of a kernel, also of several systems, have one file in common."""

import fcntl
import hashlib
import mmap
import os
from pathlib import Path
from typing import Final

from dcss.abi.page import PAGE_SIZE
from dcss.errors import ImageError
from dcss.host.files import appearing_whole, write_all
from dcss.host.paths import cache_directory
from dcss.kernels.unpacked import unpacked_kernel

_MOST_FILES: Final = 8  # that are kept; 17 to 61 MiB each


def unpacked_file(image: Path) -> mmap.mmap:
    """Return a read-only mapping of the kernel that an image holds, in whole pages. Raises ImageError."""
    try:
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(f"kernel {image}: cannot be read: {error.strerror}") from error
    try:
        return _mapped(image, cache_directory() / "kernels" / "unpacked" / digest)
    except OSError as error:
        raise ImageError(f"kernel {image}: cannot be kept in the cache, unpacked: {error}") from error


def _mapped(image: Path, kept: Path) -> mmap.mmap:
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(kept.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several machines that start at once, one unpacks
        if not kept.exists():
            content = unpacked_kernel(image)
            with appearing_whole(kept, 0o600) as descriptor:
                write_all(descriptor, content)
                os.ftruncate(descriptor, -(-len(content) // PAGE_SIZE) * PAGE_SIZE)
        os.utime(kept)
        _remove_oldest(kept.parent)
        with kept.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    finally:
        os.close(lock)


def _remove_oldest(directory: Path) -> None:
    """Remove the files that were used longest ago; who has mapped one keeps it."""
    by_use = sorted((path for path in directory.iterdir()), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in by_use[_MOST_FILES:]:
        path.unlink()
