"""Find the pages of a segment that hold each file, to prove that they are shared."""

import os
import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from dcss.abi.ext2 import ROOT_INO
from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.inode import Inode
from dcss.ext2.source import BlockSource
from dcss.ext2.super import refusal_reason
from dcss.ext2.volume import Volume


class FileExtents(NamedTuple):
    """A regular file and its pages: `runs` holds (page of the file, page of the segment, pages), holes left out.

    `damage` says why the runs are not all that it has, if so.
    """

    path: bytes
    inode: int
    size_bytes: int
    runs: tuple[tuple[int, int, int], ...]
    damage: str = ""


class ImageFiles(NamedTuple):
    """The regular files of an image, each inode once, under its first path; `damage` says what could not be read."""

    files: tuple[FileExtents, ...] = ()
    damage: tuple[str, ...] = ()


def image_files(source: BlockSource) -> ImageFiles:
    """Return the files of the ext2 image in `source`, as far as they can be read.

    Damage costs what it concerns: a file its pages from there on, a directory the entries behind it. What is
    no ext2, or has blocks that are no pages, has no files.
    """
    volume = _mount(source)
    return ImageFiles() if volume is None else _FileWalk(volume).run()


class _FileWalk:
    """Walks all directories of a volume that may be damaged, and remembers the damage."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._files: dict[int, FileExtents] = {}
        self._damage: list[str] = []
        self._entered: set[int] = set()

    def run(self) -> ImageFiles:
        """Walk, each directory before what it holds."""
        pending: list[tuple[bytes, int]] = [(b"/", ROOT_INO)]
        while pending:
            path, number = pending.pop()
            inode = self._inode(path, number)
            if inode is None:
                continue
            if inode.is_regular and number not in self._files:
                self._files[number] = self._file(path, inode)
            elif inode.is_dir and number not in self._entered:
                self._entered.add(number)
                pending += sorted(self._entries(path, inode), reverse=True)
        return ImageFiles(tuple(self._files.values()), tuple(self._damage))

    def _inode(self, path: bytes, number: int) -> Inode | None:
        try:
            return self._volume.inode(number)
        except (Ext2FormatError, KernelError) as error:
            self._note(path, error)
            return None

    def _file(self, path: bytes, inode: Inode) -> FileExtents:
        runs: list[tuple[int, int, int]] = []
        damage = ""
        try:
            runs += ((first, block, blocks) for first, block, blocks in self._volume.runs(inode) if block)
        except (Ext2FormatError, KernelError) as error:
            self._note(path, error)
            damage = refusal_reason(error)
        return FileExtents(path, inode.number, inode.size_bytes, tuple(runs), damage)

    def _entries(self, path: bytes, directory: Inode) -> Iterator[tuple[bytes, int]]:
        try:
            for entry in self._volume.entries(directory):
                if entry.name not in (b".", b".."):
                    yield posixpath.join(path, entry.name), entry.inode
        except (Ext2FormatError, KernelError) as error:
            self._note(path, error)

    def _note(self, path: bytes, error: Ext2FormatError | KernelError) -> None:
        self._damage.append(f"{os.fsdecode(path)}: {refusal_reason(error)}")


def _mount(source: BlockSource) -> Volume | None:
    """Return the file system that execute-in-place can use: ext2 whose blocks are pages."""
    try:
        volume = Volume.mount(source)
    except (KernelError, Ext2FormatError):
        return None
    return volume if volume.block_size_bytes == PAGE_SIZE else None
