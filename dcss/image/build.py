"""Build an image: plan it from a source, then write it into a file or shared memory."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from dcss.config.plan import Ext2Source, ImageSource
from dcss.errors import ImageError, ImageSizeError
from dcss.ext2.mkfs.copy import ProgressFunction, Transfer, copy_files
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.mkfs.image import PlacedImage, place
from dcss.ext2.mkfs.tree import Tree, TreeFile
from dcss.image.sources import read_tree
from dcss.image.sources.ready import ReadyImage, read_ready_image


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An image that is planned, and how to write it.

    `size_bytes` is its exact size, a multiple of 4096; `files` counts regular files, each inode once (None for a ready
    image, which is taken unread); `left_out` counts files left out by `max_bytes`; `content_bytes` is what progress
    adds up to; `notes` list, one line each, what could not be kept; `tree` is what goes in (None for a ready image).
    """

    size_bytes: int
    files: int | None
    left_out: int
    content_bytes: int
    notes: tuple[str, ...]
    _write: Callable[[int, ProgressFunction | None], None] = field(repr=False)
    tree: Tree | None = field(default=None, repr=False)

    def write(self, fd: int, progress: Callable[[int], None] | None = None) -> None:
        """Write the image into `fd`, a regular file or shared memory object open for writing, and give it its size.

        Earlier content is lost. `progress` is called with the bytes of content written since its last call. Memory use
        does not grow with the image. Raises ImageError where a source changed since it was planned, or the image cannot
        be written; then its superblock is missing, so that nothing mounts it.
        """
        _make_blank(fd, self.size_bytes)
        self._write(fd, progress)


def plan_image(source: ImageSource, *, address: int = 0, size_bytes: int | None = None) -> ImagePlan:
    """Return the plan of the image that `source` makes.

    `address` is the absolute address that the image will lie at, in bytes: large files are aligned for it. With
    `size_bytes` the file system covers that size, and ImageError tells the size needed where it is too small.
    Raises ImageError for a source that cannot be read, or that ext2 cannot hold.
    """
    for name, value in (("address", address), ("size", size_bytes or 0)):
        if value < 0 or value % BLOCK_SIZE_BYTES:
            raise ImageError(f"{name} {value:#x}: wanted a multiple of {BLOCK_SIZE_BYTES}")
    if isinstance(source, Ext2Source):
        return _plan_ready(read_ready_image(source), size_bytes)
    tree = read_tree(source)
    placed = place(tree, address, size_bytes)
    return ImagePlan(
        size_bytes=size_bytes or placed.layout.blocks * BLOCK_SIZE_BYTES,
        files=sum(isinstance(inode.node, TreeFile) for inode in placed.numbering.inodes),
        left_out=tree.left_out,
        content_bytes=_content_bytes(placed),
        notes=tuple(tree.notes),
        _write=placed.write,
        tree=tree,
    )


def _content_bytes(placed: PlacedImage) -> int:
    return sum(run.length_bytes for file, _ in placed.files for run in file.data)


def _plan_ready(image: ReadyImage, size_bytes: int | None) -> ImagePlan:
    needed_bytes = -(-image.size_bytes // BLOCK_SIZE_BYTES) * BLOCK_SIZE_BYTES
    if size_bytes is not None and size_bytes < needed_bytes:
        raise ImageSizeError(
            f"{os.fsdecode(image.store.path)} needs {needed_bytes} bytes, given are {size_bytes}; give it more"
        )

    def write(fd: int, progress: ProgressFunction | None) -> None:
        copy_files(fd, [Transfer(run.file_offset, image.store, *run[1:]) for run in image.data], progress)

    content_bytes = sum(run.length_bytes for run in image.data)
    return ImagePlan(size_bytes or needed_bytes, None, 0, content_bytes, (), write)


def _make_blank(fd: int, size_bytes: int) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise ImageError("the image cannot be written: found a device or pipe, wanted a regular file or shared memory")
    try:
        if found.st_blocks or found.st_size > size_bytes:
            os.ftruncate(fd, 0)
        os.ftruncate(fd, size_bytes)
    except OSError as error:
        raise ImageError(f"the image cannot be given its {size_bytes} bytes: {error.strerror}") from error
