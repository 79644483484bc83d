"""Open image files and mount them, to be read in place."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from dcss.errors import Ext2FormatError, ImageError, KernelError
from dcss.ext2.source import BufferSource
from dcss.ext2.super import refusal_reason
from dcss.ext2.volume import Volume
from dcss.host.files import open_regular


@contextmanager
def image_buffer(path: Path) -> Iterator[mmap.mmap]:
    """Map an image, a file or block device, read-only. Raises ImageError where it cannot be read."""
    try:
        descriptor = open_regular(path, block_device=True)
        try:
            size_bytes = os.lseek(descriptor, 0, os.SEEK_END)  # of a device too, whose st_size is 0
            if not size_bytes:
                raise ImageError(f"{path} is empty, wanted an ext2 image")
            buffer = mmap.mmap(descriptor, size_bytes, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ImageError(f"{path} cannot be read as an image: {error.strerror}") from error
    try:
        yield buffer
    finally:
        with suppress(BufferError):  # an exception may still hold a view, and frees it later
            buffer.close()


class OpenedImage(NamedTuple):
    """A mounted image and its bytes."""

    volume: Volume
    source: BufferSource


@contextmanager
def opened_image(path: Path) -> Iterator[OpenedImage]:
    """Mount an image read-only. Raises ImageError where it cannot be read or holds no ext2."""
    with image_buffer(path) as buffer:
        source = BufferSource(buffer)
        try:
            yield OpenedImage(mounted(source, path), source)
        finally:
            source.close()


def mounted(source: BufferSource, path: Path) -> Volume:
    """Return the volume on `source`. Raises ImageError that names `path`, and what was found and wanted."""
    try:
        return Volume.mount(source, device=path.name, silent=True)
    except (KernelError, Ext2FormatError) as error:
        raise ImageError(f"{path}: {refusal_reason(error)}") from error
