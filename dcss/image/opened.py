"""Open image files and mount them, to be read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from dcss.abi.ext2 import SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE_BYTES
from dcss.errors import Ext2FormatError, ImageError, KernelError
from dcss.ext2.source import BlockSource
from dcss.ext2.super import refusal_reason
from dcss.ext2.volume import Volume
from dcss.host.files import open_regular
from dcss.image.file_source import FileSource
from dcss.image.foreign import foreign_content, has_ext2_at
from dcss.image.superblock import file_system_bytes, superblock_at

_SMALLEST_BYTES: Final = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE_BYTES


@contextmanager
def image_source(path: Path, offset: int = 0) -> Iterator[FileSource]:
    """Open an image, a file or block device, or the file system that begins at byte `offset` of it.

    What begins at an `offset` ends where its superblock says. Raises ImageError where it cannot be read.
    """
    try:
        descriptor = open_regular(path, block_device=True)
    except OSError as error:
        raise ImageError(f"{path} cannot be read as an image: {error.strerror}") from error
    try:
        source = FileSource(descriptor, offset)
        if not source.size_bytes:
            found = f"ends before byte {offset}" if offset else "is empty"
            raise ImageError(f"{path} {found}, wanted an ext2 image")
        if offset:
            cut_to_file_system(source)
        yield source
        source.close()
    finally:
        os.close(descriptor)


class OpenedImage(NamedTuple):
    """A mounted image and its bytes."""

    volume: Volume
    source: BlockSource


def mounted(source: BlockSource, path: Path) -> Volume:
    """Return the volume on `source`. Raises ImageError that names `path`, and what was found and wanted."""
    try:
        return Volume.mount(source, device=path.name)
    except (KernelError, Ext2FormatError) as error:
        raise image_error(source, path, refusal_reason(error)) from error


def image_error(source: BlockSource, path: Path, reason: str) -> ImageError:
    """Return the error for what cannot be read as ext2: what it is instead and what to do, or else `reason`."""
    base = source.first_byte if isinstance(source, FileSource) else 0
    if source.size_bytes < _SMALLEST_BYTES:
        reason = f"found {source.size_bytes} bytes, wanted an ext2 image, of at least {_SMALLEST_BYTES}"
    return ImageError(f"{path}: {foreign_content(source, path, base) or reason}")


def cut_to_file_system(source: FileSource) -> None:
    """Let a source that is longer than the file system in it end where the superblock says."""
    superblock = superblock_at(source)
    if superblock is not None and has_ext2_at(source, 0):
        source.cut(file_system_bytes(superblock))
