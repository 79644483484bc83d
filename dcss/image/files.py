"""Find the pages of a segment that hold each file, to prove that they are shared."""

from mmap import mmap
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.source import BufferSource
from dcss.ext2.super import refusal_reason
from dcss.ext2.volume import Volume

Buffer = bytes | bytearray | memoryview | mmap


class FileExtents(NamedTuple):
    """A regular file and its pages: `runs` holds (page of the file, page of the segment, pages), holes left out."""

    path: bytes
    inode: int
    size_bytes: int
    runs: tuple[tuple[int, int, int], ...]


def image_files(buffer: Buffer) -> list[FileExtents]:
    """Return every regular file of the ext2 image in `buffer`, each inode once, under its first path.

    Where `why_no_files` gives a reason the list is empty. Raises Ext2FormatError or KernelError for a damaged image.
    """
    source = BufferSource(buffer)
    try:
        volume, _ = _mount(source)
        if volume is None:
            return []
        files: dict[int, FileExtents] = {}
        for path, inode in volume.walk():
            if inode.is_regular and inode.number not in files:
                runs = tuple((first, page, pages) for first, page, pages in volume.runs(inode) if page)
                files[inode.number] = FileExtents(path, inode.number, inode.size_bytes, runs)
        return list(files.values())
    finally:
        source.close()


def why_no_files(buffer: Buffer) -> str | None:
    """Return why no file of `buffer` can be shared by pages, or None: it is no ext2, or its blocks are not pages."""
    source = BufferSource(buffer)
    try:
        return _mount(source)[1]
    finally:
        source.close()


def _mount(source: BufferSource) -> tuple[Volume | None, str | None]:
    try:
        volume = Volume.mount(source, silent=True)
    except (KernelError, Ext2FormatError) as error:
        return None, f"holds no ext2 file system: {refusal_reason(error)}"
    if volume.block_size_bytes != PAGE_SIZE:
        return None, f"has blocks of {volume.block_size_bytes} bytes: execute-in-place needs blocks of {PAGE_SIZE}"
    return volume, None
