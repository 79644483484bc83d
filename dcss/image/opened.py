"""Open image files and mount them, to be read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dcss.errors import Ext2FormatError, ImageError, KernelError
from dcss.ext2.source import BlockSource
from dcss.ext2.super import refusal_reason
from dcss.ext2.volume import Volume
from dcss.host.files import open_regular
from dcss.image.file_source import FileSource


@contextmanager
def image_source(path: Path) -> Iterator[FileSource]:
    """Open an image, a file or block device. Raises ImageError where it cannot be read."""
    try:
        descriptor = open_regular(path, block_device=True)
    except OSError as error:
        raise ImageError(f"{path} cannot be read as an image: {error.strerror}") from error
    try:
        source = FileSource(descriptor)
        if not source.size_bytes:
            raise ImageError(f"{path} is empty, wanted an ext2 image")
        yield source
        source.close()
    finally:
        os.close(descriptor)


class OpenedImage(NamedTuple):
    """A mounted image and its bytes."""

    volume: Volume
    source: BlockSource


@contextmanager
def opened_image(path: Path) -> Iterator[OpenedImage]:
    """Mount an image read-only. Raises ImageError where it cannot be read or holds no ext2."""
    with image_source(path) as source:
        yield OpenedImage(mounted(source, path), source)


def mounted(source: BlockSource, path: Path) -> Volume:
    """Return the volume on `source`. Raises ImageError that names `path`, and what was found and wanted."""
    try:
        return Volume.mount(source, device=path.name, silent=True)
    except (KernelError, Ext2FormatError) as error:
        raise ImageError(f"{path}: {refusal_reason(error)}") from error
