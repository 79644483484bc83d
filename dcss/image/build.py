"""Build an image: plan it from a source, then write it into a file or shared memory."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from dcss.config.sources import Ext2Source, ImageSource
from dcss.errors import ImageError, ImageSizeError
from dcss.ext2.mkfs.copy import ImageWindow, ProgressFunction, Transfer, copy_files
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.mkfs.image import place
from dcss.ext2.mkfs.tree import Tree, TreeFile
from dcss.image.sources import read_tree

if TYPE_CHECKING:
    from dcss.image.sources.ready import ReadyImage


class WritableImage(Protocol):
    """An image of which every byte has its place."""

    def write(self, window: ImageWindow, progress: ProgressFunction | None) -> None:
        """Write what lies in `window`."""
        ...

    def content_bytes(self, window: ImageWindow) -> int:
        """Return how many bytes `write` reports as progress."""
        ...


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An image that is planned, or a part of one, and how to write it.

    `size_bytes` is its exact size, a multiple of 4096, and `file_system_bytes` that of its file system, which may be
    less for a ready image; `files` counts regular files, each inode once (None for a ready image, which is taken
    unread); `left_out` counts files left out by `max_bytes`; `content_bytes` is what progress adds up to; `notes` list,
    one line each, what could not be kept; `tree` is what goes in (None for a ready image). A part begins at
    `first_byte` of the image; what is said of files stands in the first part.
    """

    size_bytes: int
    file_system_bytes: int
    files: int | None
    left_out: int
    content_bytes: int
    notes: tuple[str, ...]
    _image: WritableImage = field(repr=False)
    tree: Tree | None = field(default=None, repr=False)
    first_byte: int = 0

    def write(self, fd: int, progress: Callable[[int], None] | None = None, *, zeros: bool = False) -> None:
        """Write the image into `fd`, a regular file or shared memory object open for writing, and give it its size.

        Earlier content is lost; where all that there is are `zeros`, they stay, with the pages that hold them, and a
        file that is longer keeps its size. `progress` is called with the bytes of content written since its last call.
        Memory use does not grow with the image. Raises ImageError where a source changed since it was planned, or the
        image cannot be written; then its superblock is missing, so that nothing mounts it.
        """
        _make_blank(fd, self.size_bytes, zeros=zeros)
        self._image.write(ImageWindow(fd, self.first_byte, self.first_byte + self.size_bytes), progress)

    def parts(self, sizes_bytes: Sequence[int]) -> "Iterator[ImagePlan]":
        """Yield the plans of the parts that lie in segments of these sizes, one behind the other."""
        first_byte = 0
        for size_bytes in sizes_bytes:
            content_bytes = self._image.content_bytes(ImageWindow(-1, first_byte, first_byte + size_bytes))
            part = replace(self, size_bytes=size_bytes, content_bytes=content_bytes, first_byte=first_byte)
            yield replace(part, files=None, left_out=0, notes=()) if first_byte else part
            first_byte += size_bytes


def plan_image(source: ImageSource, *, address: int = 0, size_bytes: int | None = None) -> ImagePlan:
    """Return the plan of the image that `source` makes.

    `address` is the absolute address that the image will lie at, in bytes: large files are aligned for it. With
    `size_bytes` the file system covers that size, and ImageError tells the size needed where it is too small.
    Raises ImageError for a source that cannot be read, or that ext2 cannot hold.
    """
    _check_geometry(address, size_bytes)
    if isinstance(source, Ext2Source):
        from dcss.image.sources.ready import read_ready_image

        return _plan_ready(read_ready_image(source), size_bytes)
    return plan_tree(read_tree(source), address=address, size_bytes=size_bytes)


def plan_tree(tree: Tree, *, address: int = 0, size_bytes: int | None = None) -> ImagePlan:
    """Return the plan of an image that holds `tree`; `plan_image` says what the rest means. Raises ImageError."""
    _check_geometry(address, size_bytes)
    placed = place(tree, address, size_bytes)
    return ImagePlan(
        size_bytes=size_bytes or placed.size_bytes,
        file_system_bytes=placed.size_bytes,
        files=sum(isinstance(inode.node, TreeFile) for inode in placed.numbering.inodes),
        left_out=tree.left_out,
        content_bytes=sum(run.length_bytes for file, _ in placed.files for run in file.data),
        notes=tuple(tree.notes),
        _image=placed,
        tree=tree,
    )


def _check_geometry(address: int, size_bytes: int | None) -> None:
    for name, value in (("address", address), ("size", size_bytes or 0)):
        if value < 0 or value % BLOCK_SIZE_BYTES:
            raise ImageError(f"{name} {value:#x}: wanted a multiple of {BLOCK_SIZE_BYTES}")


def _plan_ready(image: "ReadyImage", size_bytes: int | None) -> ImagePlan:
    needed_bytes = -(-image.size_bytes // BLOCK_SIZE_BYTES) * BLOCK_SIZE_BYTES
    if size_bytes is not None and size_bytes < needed_bytes:
        raise ImageSizeError(
            f"{os.fsdecode(image.store.path)} needs {needed_bytes} bytes, given are {size_bytes}; give it more",
            needed_bytes,
        )
    content_bytes = sum(run.length_bytes for run in image.data)
    return ImagePlan(size_bytes or needed_bytes, needed_bytes, None, 0, content_bytes, (), _CopiedImage(image))


@dataclass(frozen=True, slots=True)
class _CopiedImage:
    """A ready image, copied byte by byte."""

    image: "ReadyImage"

    def write(self, window: ImageWindow, progress: ProgressFunction | None) -> None:
        copy_files(window, list(self._inside(window)), progress)

    def content_bytes(self, window: ImageWindow) -> int:
        return sum(transfer.length_bytes for transfer in self._inside(window))

    def _inside(self, window: ImageWindow) -> Iterator[Transfer]:
        return window.clip(Transfer(run.file_offset, self.image.store, *run[1:]) for run in self.image.data)


def _make_blank(fd: int, size_bytes: int, *, zeros: bool) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise ImageError("the image cannot be written: found a device or pipe, wanted a regular file or shared memory")
    try:
        if not zeros and (found.st_blocks or found.st_size > size_bytes):
            os.ftruncate(fd, 0)
        if not zeros or found.st_size < size_bytes:
            os.ftruncate(fd, size_bytes)
    except OSError as error:
        raise ImageError(f"the image cannot be given its {size_bytes} bytes: {error.strerror}") from error
