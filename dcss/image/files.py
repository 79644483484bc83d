"""Find the pages of a segment that hold each file, to prove that they are shared."""

from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.source import BlockSource
from dcss.ext2.super import refusal_reason
from dcss.ext2.volume import Volume


class FileExtents(NamedTuple):
    """A regular file and its pages: `runs` holds (page of the file, page of the segment, pages), holes left out."""

    path: bytes
    inode: int
    size_bytes: int
    runs: tuple[tuple[int, int, int], ...]


def image_files(source: BlockSource) -> list[FileExtents]:
    """Return every regular file of the ext2 image in `source`, each inode once, under its first path.

    Where `why_no_files` gives a reason the list is empty. Raises Ext2FormatError or KernelError for a damaged image.
    """
    volume, _ = _mount(source)
    if volume is None:
        return []
    files: dict[int, FileExtents] = {}
    for path, inode in volume.walk():
        if inode.is_regular and inode.number not in files:
            runs = tuple((first, page, pages) for first, page, pages in volume.runs(inode) if page)
            files[inode.number] = FileExtents(path, inode.number, inode.size_bytes, runs)
    return list(files.values())


def why_no_files(source: BlockSource) -> str | None:
    """Return why no file of `source` can be shared by pages, or None: it is no ext2, or its blocks are not pages."""
    return _mount(source)[1]


def _mount(source: BlockSource) -> tuple[Volume | None, str | None]:
    try:
        volume = Volume.mount(source, silent=True)
    except (KernelError, Ext2FormatError) as error:
        return None, f"holds no ext2 file system: {refusal_reason(error)}"
    if volume.block_size_bytes != PAGE_SIZE:
        return None, f"has blocks of {volume.block_size_bytes} bytes: execute-in-place needs blocks of {PAGE_SIZE}"
    return volume, None
