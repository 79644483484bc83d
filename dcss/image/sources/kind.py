"""Recognize the source of an image by its path: a directory, a ready ext2 image, or a tar."""

from pathlib import Path

from dcss.abi.ext2 import MAGIC, SUPERBLOCK, SUPERBLOCK_OFFSET, Superblock
from dcss.config.plan import DirectorySource, Ext2Source, ImageSource, TarSource
from dcss.errors import ImageError
from dcss.host.files import WrongKindError, open_regular

_LARGEST_LOG_BLOCK_SIZE = 6  # 64 KiB; a compressed tar does not have both fields right by chance


def source_of(path: Path) -> ImageSource:
    """Return the source at `path`. Raises ImageError where nothing is there, or it cannot be read."""
    if path.is_dir():
        return DirectorySource(path)
    try:
        with open(open_regular(path), "rb") as file:
            file.seek(SUPERBLOCK_OFFSET)
            found = file.read(SUPERBLOCK.size)
    except WrongKindError as error:
        raise ImageError(f"{path}: found {error.found}, wanted a directory, an ext2 image or a tar") from error
    except OSError as error:
        raise ImageError(f"{path}: found {error.strerror}, wanted a directory, an ext2 image or a tar") from error
    if len(found) == SUPERBLOCK.size:
        superblock = Superblock._make(SUPERBLOCK.unpack(found))
        if superblock.s_magic == MAGIC and superblock.s_log_block_size <= _LARGEST_LOG_BLOCK_SIZE:
            return Ext2Source(path)
    return TarSource(path)
