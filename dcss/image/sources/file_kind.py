"""Recognize by its content what a file is that an image is to be made of: a ready ext2 image, or a tar."""

import os
from pathlib import Path
from typing import Final

from dcss.config.sources import Ext2Source, ImageSource, TarSource
from dcss.errors import ImageError
from dcss.ext2.source import BlockSource, BufferSource
from dcss.host.files import WrongKindError, open_regular
from dcss.image.file_source import FileSource
from dcss.image.foreign import foreign_content
from dcss.image.sources.compression import HEAD_BYTES, method_of, unpacking
from dcss.image.superblock import superblock_at
from dcss.image.tar.header import BLOCK_BYTES, TarFormatError, parse_header

_ANY_FILE: Final = Path("FILE")  # in advice about what has no name
_HEAD_BYTES: Final = 4096  # has the superblock


def source_of_file(path: Path, label: str | None) -> ImageSource:
    """Return the source that the file at `path` is, which messages call `label`, or by its path.

    Raises ImageError where nothing is there, it cannot be read, or it is something else that is recognized.
    """
    try:
        descriptor = open_regular(path)
    except WrongKindError as error:
        raise ImageError(f"{path}: found {error.found}, wanted a directory, an ext2 image or a tar") from error
    except OSError as error:
        raise ImageError(f"{path}: found {error.strerror}, wanted a directory, an ext2 image or a tar") from error
    name = path if label is None else label
    try:
        source = FileSource(descriptor)
        if superblock_at(source) is not None:
            return Ext2Source(path)
        if not begins_a_tar(source) and (foreign := foreign_content(source, path if label is None else _ANY_FILE)):
            if foreign.compressed and not _holds_ext2(path):
                return TarSource(path, label=label)
            raise ImageError(f"{name}: {foreign}")
    finally:
        os.close(descriptor)
    return TarSource(path, label=label)


def _holds_ext2(packed: Path) -> bool:
    """Return whether a compressed file holds an ext2 image. Damage in it is found when it is read as a tar."""
    with open(open_regular(packed), "rb") as file:
        try:
            method = method_of(file.peek(HEAD_BYTES)[:HEAD_BYTES], str(packed))
            if method is None:
                return False
            with unpacking(file, method, str(packed)) as unpacked:
                return superblock_at(BufferSource(unpacked.read(_HEAD_BYTES))) is not None
        except ImageError:
            return False


def begins_a_tar(source: BlockSource) -> bool:
    """Say whether the first block is the header of a tar's first member."""
    if source.size_bytes < BLOCK_BYTES:
        return False
    try:
        parse_header(bytes(source.bytes_at(0, BLOCK_BYTES)))
    except TarFormatError:
        return False
    return True
