"""Inodes and open files of a file system in real storage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from errno import EINVAL, ENOMEM, ENOSPC
from time import time_ns

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.frames import FrameMap
from vmguest.fs.file import FileMappings, StoredFile, copy_into_runs
from vmguest.fs.libfs import ModeMixin, PreciseTimes
from vmguest.storage import RealStorage, StorageRun

SECOND_NS = 1_000_000_000


@dataclass(slots=True, eq=False)
class TmpfsInode(ModeMixin, PreciseTimes):
    """A file, a directory with its `children`, or a symbolic link with its `target`."""

    number: int
    mode: int
    links_count: int = 1
    size_bytes: int = 0
    rdev: tuple[int, int] = (0, 0)
    uid: int = 0
    gid: int = 0
    atime_ns: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    opens: int = 0
    linkable: bool = False  # it was made without a name, and may get one
    children: dict[bytes, int] = field(default_factory=dict)
    target: bytes = b""
    data: FrameMap | None = None
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    mappings: FileMappings = field(default_factory=FileMappings)

    def set_times(self, now_ns: int) -> None:
        """Have it look made at a time."""
        self.atime_ns = self.mtime_ns = self.ctime_ns = now_ns

    @property
    def atime(self) -> int:
        """Last read, in seconds."""
        return self.atime_ns // SECOND_NS

    @atime.setter
    def atime(self, seconds: int) -> None:
        self.atime_ns = seconds * SECOND_NS

    @property
    def mtime(self) -> int:
        """Last change of its data, in seconds."""
        return self.mtime_ns // SECOND_NS

    @mtime.setter
    def mtime(self, seconds: int) -> None:
        self.mtime_ns = seconds * SECOND_NS

    @property
    def ctime(self) -> int:
        """Last change of the inode, in seconds."""
        return self.ctime_ns // SECOND_NS

    @ctime.setter
    def ctime(self, seconds: int) -> None:
        self.ctime_ns = seconds * SECOND_NS

    @property
    def pages(self) -> int:
        """Pages of real storage that hold its data."""
        return 0 if self.data is None else self.data.pages

    @property
    def blocks_512(self) -> int:
        """Sectors of 512 bytes that its pages make."""
        return self.pages * PAGE_SIZE // SECTOR_SIZE


class TmpfsFile(StoredFile):
    """An open regular file of real storage."""

    __slots__ = ("_data", "_inode", "_room_pages")

    def __init__(
        self, inode: TmpfsInode, data: FrameMap, storage: RealStorage, room_pages: Callable[[], int | None]
    ) -> None:
        """`room_pages` returns what its file system may still take, None where only storage is a limit."""
        super().__init__(storage.base, inode.mappings)
        self._inode = inode
        self._data = data
        self._room_pages = room_pages

    @property
    def size_bytes(self) -> int:
        """i_size."""
        return self._inode.size_bytes

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Copy bytes into frames, taken as they are needed. Raises KernelError: ENOSPC, EINVAL."""
        if position < 0:
            raise KernelError(EINVAL, f"write at position {position}: wanted no negative number")
        if not data:
            return 0
        first = position // PAGE_SIZE
        filled = self._data.fill(first, hostmem.pages(position + len(data)) - first, self._room_pages())
        if not filled:
            full = "the file system's size=" if self._room_pages() == 0 else "real storage"
            raise KernelError(ENOSPC, f"{full} is full (give the guest more `storage:`, or remove files)")
        done = copy_into_runs(self._window, self._data.runs(first, filled), position, data)
        self._set_size(max(self.size_bytes, position + done))
        self._mappings.changed(first, filled)
        return done

    def truncate(self, size_bytes: int) -> None:
        """Cut the file, or let it grow by a hole."""
        if size_bytes < 0:
            raise KernelError(EINVAL, f"truncate to {size_bytes} bytes: wanted no negative number")
        before = hostmem.pages(self.size_bytes)
        if size_bytes < self.size_bytes:
            self._data.truncate(size_bytes)
        self._set_size(size_bytes)
        self._mappings.changed(hostmem.pages(size_bytes), before - hostmem.pages(size_bytes))

    def _set_size(self, size_bytes: int) -> None:
        self._inode.size_bytes = size_bytes
        self._inode.mtime_ns = self._inode.ctime_ns = time_ns()

    def _runs(self, first_page: int, pages: int, *, for_write: bool) -> Iterator[StorageRun]:
        """Yield the file's own frames, and its holes."""
        if for_write:
            before = self._data.pages
            if self._data.fill(first_page, pages, self._room_pages()) < pages:
                raise KernelError(ENOMEM, f"{pages} pages of a file: real storage has no room for its holes")
            if self._data.pages != before:  # others may have been shown zeros
                self._mappings.changed(first_page, pages)
        return self._data.translate(first_page, pages)
