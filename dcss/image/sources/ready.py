"""`ext2:`: a ready image, used unchanged."""

import os
import stat
from typing import NamedTuple

from dcss.abi.ext2 import MAGIC, MAGIC_OFFSET
from dcss.config.plan import Ext2Source
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import DataRun
from dcss.image.sources.host import HostFile, data_runs, host_error


class ReadyImage(NamedTuple):
    """An image file, and which of its bytes are not holes."""

    store: HostFile
    data: tuple[DataRun, ...]


def read_ready_image(source: Ext2Source) -> ReadyImage:
    """Return the image at `source.path`. Only the superblock's magic is checked: a damaged image is accepted.

    Raises ImageError for a file that cannot be read or has no ext2 superblock.
    """
    path = os.fsencode(source.path)
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path holds no bytes
        if not stat.S_ISREG(found.st_mode):
            raise ImageError(f"{source.path}: found no regular file, wanted an ext2 image")
    except OSError as error:
        raise host_error(path, "cannot be taken as an image", error) from error
    store = HostFile(path, found.st_size, found.st_mtime_ns)
    descriptor = store.open()
    try:
        magic = os.pread(descriptor, 2, MAGIC_OFFSET)
        if magic != MAGIC.to_bytes(2, "little"):
            raise ImageError(
                f"{source.path}: magic {magic[::-1].hex() or 'missing'} at offset {MAGIC_OFFSET}, "
                f"wanted {MAGIC:04x}: this is no ext2 image (mke2fs or dcss image build makes one)"
            )
    finally:
        os.close(descriptor)
    return ReadyImage(store, data_runs(store))
