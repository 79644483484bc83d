"""Inodes and open files of a file system in real storage."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EINVAL, ENOMEM, ENOSPC
from time import time

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.fs.file import Actor, check_pages, clip, copy_pieces, send_pieces
from vmguest.fs.frames import FilePages
from vmguest.fs.inode import TypedByMode
from vmguest.fs.mapping import UserMapping, UserRun
from vmguest.machine import RealStorage


@dataclass(slots=True, eq=False)
class RamInode(TypedByMode):
    """A file, a directory with its `children`, or a symbolic link with its `target`."""

    number: int
    mode: int
    links_count: int = 1
    size_bytes: int = 0
    rdev: tuple[int, int] = (0, 0)
    uid: int = 0
    gid: int = 0
    atime: int = 0
    mtime: int = 0
    ctime: int = 0
    opens: int = 0
    children: dict[bytes, int] = field(default_factory=dict)
    target: bytes = b""
    data: FilePages | None = None

    @property
    def pages(self) -> int:
        """Pages of real storage that hold its data."""
        return 0 if self.data is None else self.data.pages

    @property
    def blocks_512(self) -> int:
        """Sectors of 512 bytes that its pages make."""
        return self.pages * PAGE_SIZE // SECTOR_SIZE


class RamFile:
    """An open regular file of real storage."""

    def __init__(self, inode: RamInode, data: FilePages, storage: RealStorage) -> None:
        self._inode = inode
        self._data = data
        self._storage = storage

    @property
    def size_bytes(self) -> int:
        """i_size."""
        return self._inode.size_bytes

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy bytes into `buffer`."""
        return copy_pieces(self._pieces(position, len(buffer)), buffer)

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Hand the frames themselves to `actor`."""
        return send_pieces(self._pieces(position, count), actor)

    def mmap(self, first_page: int, pages: int) -> UserMapping:
        """Map pages read-only, holes filled first: user level sees the file's own frames."""
        pages = check_pages(self, first_page, pages)
        if self._data.fill(first_page, pages) < pages:
            raise KernelError(ENOMEM, f"mmap of {pages} pages: real storage has no room for the file's holes")
        runs = tuple(
            UserRun(run.file_page, self._storage.address(run.frame), run.pages)
            for run in self._data.runs(first_page, pages)
        )
        return UserMapping(runs, self.size_bytes, lambda: None)

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Copy bytes into frames, taken as they are needed. Raises KernelError: ENOSPC, EINVAL."""
        if position < 0:
            raise KernelError(EINVAL, f"write at position {position}: wanted no negative number")
        if not data:
            return 0
        first = position // PAGE_SIZE
        there = self._data.fill(first, hostmem.pages(position + len(data)) - first)
        end = min(position + len(data), (first + there) * PAGE_SIZE)
        if end <= position:
            raise KernelError(ENOSPC, "real storage is full (give the guest more `storage:`, or remove files)")
        view, done = memoryview(data), 0
        for piece in self._data.pieces(position, end):
            piece[:] = view[done : done + len(piece)]
            done += len(piece)
        self._changed(max(self.size_bytes, end))
        return done

    def truncate(self, size_bytes: int) -> None:
        """Cut the file, or let it grow by a hole."""
        if size_bytes < 0:
            raise KernelError(EINVAL, f"truncate to {size_bytes} bytes: wanted no negative number")
        if size_bytes < self.size_bytes:
            self._data.cut(size_bytes)
        self._changed(size_bytes)

    def _changed(self, size_bytes: int) -> None:
        self._inode.size_bytes = size_bytes
        self._inode.mtime = self._inode.ctime = int(time())

    def _pieces(self, position: int, count: int) -> Iterator[memoryview]:
        for piece in self._data.pieces(position, clip(self, position, count)):
            yield piece.toreadonly()
