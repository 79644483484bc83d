"""`ext2:`: a ready image, used unchanged."""

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dcss.abi.ext2 import MAGIC, MAGIC_OFFSET, SUPERBLOCK, SUPERBLOCK_OFFSET
from dcss.config.sources import Ext2Source
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import DataRun
from dcss.image.file_source import FileSource
from dcss.image.foreign import foreign_content
from dcss.image.opened import cut_to_file_system
from dcss.image.sources.host import HostFile, data_runs, host_error
from dcss.image.superblock import block_bytes, parse_superblock, read


class ReadyImage(NamedTuple):
    """An image: the file that it lies in, its size, and which of its bytes are not holes."""

    store: HostFile
    size_bytes: int
    data: tuple[DataRun, ...]


def read_ready_image(source: Ext2Source) -> ReadyImage:
    """Return the image at `source.path`; one that begins at an offset ends where its superblock says.

    Only the superblock's magic and its length are checked: a damaged image is accepted. Raises ImageError for a file
    that cannot be read, has no ext2 superblock, or was cut short.
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
        opened = FileSource(descriptor, source.offset)
        magic = read(opened, MAGIC_OFFSET, 2)
        if magic != MAGIC.to_bytes(2, "little"):
            if foreign := foreign_content(opened, source.path, source.offset):
                raise ImageError(f"{source.path}: {foreign}")
            raise ImageError(
                f"{source.path}: magic {magic[::-1].hex() or 'missing'} at offset {source.offset + MAGIC_OFFSET}, "
                f"wanted {MAGIC:04x}: this is no ext2 image (mke2fs or dcss image build makes one)"
            )
        _check_length(opened, source)
        if source.offset:
            cut_to_file_system(opened)
    finally:
        os.close(descriptor)
    return ReadyImage(store, opened.size_bytes, tuple(_moved(data_runs(store), source.offset, opened.size_bytes)))


def _check_length(opened: FileSource, source: Ext2Source) -> None:
    """Raise ImageError where the image is shorter than its superblock says, which the kernel refuses to mount."""
    head = read(opened, SUPERBLOCK_OFFSET, SUPERBLOCK.size)
    superblock = parse_superblock(head.ljust(SUPERBLOCK.size, b"\0"))
    if superblock is None:
        return  # no block size: the mount says so
    blocks = opened.size_bytes // block_bytes(superblock)
    if superblock.s_blocks_count > blocks:
        raise ImageError(
            f"{source.path}: bad geometry: block count {superblock.s_blocks_count} exceeds size of device ({blocks}"
            " blocks): the image was cut short; make or copy it again"
        )


def _moved(runs: Iterable[DataRun], offset: int, size_bytes: int) -> Iterator[DataRun]:
    """Yield what of the runs of a file lies in the `size_bytes` from `offset` on."""
    for run in runs:
        start = max(run.source_offset, offset)
        end = min(run.source_offset + run.length_bytes, offset + size_bytes)
        if start < end:
            yield DataRun(start - offset, start, end - start)
