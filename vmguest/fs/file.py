"""What the operations of an open regular file offer (struct file_operations), and how those with storage do it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from errno import EINVAL, ENODEV, ENOTTY
from typing import NoReturn, Protocol

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.fs.poll import READABLE, WRITABLE
from vmguest.storage import ZERO_PAGE, StorageKind, StorageRun

Actor = Callable[[memoryview], int]  # takes bytes, returns how many it took: what sendfile's actor does in the kernel


class MappingSpace(Protocol):
    """An address space, as a file sees it whose pages it shows."""

    def pages_changed(self, mappings: "FileMappings", first_page: int, pages: int) -> None:
        """Show pages of a file anew where they are mapped: they lie elsewhere now, or are gone."""
        ...

    def pages_of(self, mappings: "FileMappings") -> Iterator[tuple[int, int]]:
        """Yield which pages of a file are mapped: the first one, and how many."""
        ...


class FileMappings:
    """The address spaces that map pages of one file (i_mmap), each with how many areas it has."""

    __slots__ = ("__weakref__", "_spaces")

    def __init__(self) -> None:
        self._spaces: dict[MappingSpace, int] = {}

    def add(self, space: MappingSpace) -> None:
        """Count one more area of an address space."""
        self._spaces[space] = self._spaces.get(space, 0) + 1

    def remove(self, space: MappingSpace) -> None:
        """Count one area less."""
        self._spaces[space] -= 1
        if not self._spaces[space]:
            del self._spaces[space]

    def changed(self, first_page: int, pages: int) -> None:
        """Have every address space show pages as they are now (unmap_mapping_range)."""
        if pages > 0:
            for space in tuple(self._spaces):
                space.pages_changed(self, first_page, pages)

    def overlap(self, first_page: int, pages: int) -> set[int]:
        """Return those of some pages that an address space maps."""
        wanted = range(first_page, first_page + pages)
        return {
            page
            for space in self._spaces
            for first, mapped in space.pages_of(self)
            for page in range(max(first, wanted.start), min(first + mapped, wanted.stop))
        }


class UserMemory(Protocol):
    """The memory of the program that makes a system call. Raises KernelError(EFAULT) where it has none."""

    def read(self, address: int, size_bytes: int) -> bytes:
        """Return bytes of the program."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes to the program."""
        ...


class FileOperations(Protocol):
    """An open file: positions and sizes in bytes, nothing is read beyond i_size.

    What would have to wait raises KernelError(EAGAIN), and can be tried again when `poll` says so.
    """

    seekable: bool  # whether it has positions: a pipe or terminal has none, and gets 0
    endless: bool  # whether a seek goes to position 0 whatever it asks for, as in /dev/zero (null_lseek)

    @property
    def open_pending(self) -> bool:
        """Whether open(2) has to wait still: that of a FIFO does until its other end is opened."""
        ...

    def poll(self) -> int:
        """Return what can be done without waiting, as events of `vmguest.fs.poll`."""
        ...

    def alarm_seconds(self) -> float | None:
        """Return in how many seconds time alone ends a wait for this file, or None."""
        ...

    def activity(self) -> object:
        """Return what is another value when something has come since, though `poll` may say the same."""
        ...

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Do a device's own request. Raises KernelError: ENOTTY for one that it does not know, EFAULT, EINVAL."""
        ...

    @property
    def mappings(self) -> FileMappings:
        """Who maps the file; the same for every open of it."""
        ...

    @property
    def size_bytes(self) -> int:
        """i_size."""
        ...

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy bytes from `position` on into `buffer`; return how many (0 at the end of the file)."""
        ...

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Hand up to `count` bytes to `actor` without an intermediate copy; return how many it took."""
        ...

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> Iterator[StorageRun]:
        """Yield where pages of the file lie, up to its end, as runs; with `for_write` holes get storage first.

        Raises KernelError: ENODEV where the file has no pages, EROFS, ENOMEM.
        """
        ...


class WritableFileOperations(FileOperations, Protocol):
    """An open regular file of a file system that is mounted read-write."""

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Copy bytes into the file; return how many, fewer than given only where storage ran out in between.

        Raises KernelError(ENOSPC) where not one byte found room, EINVAL for a position below 0.
        """
        ...

    def truncate(self, size_bytes: int) -> None:
        """Cut the file or let it grow by a hole. Raises KernelError(EINVAL) for a size below 0."""
        ...


class FileDefaults:
    """What most files have in common: they are always ready, and have no requests of their own."""

    __slots__ = ()
    seekable = True
    endless = False

    @property
    def open_pending(self) -> bool:
        """Nothing is waited for."""
        return False

    def poll(self) -> int:
        """Say that it can be read and written."""
        return READABLE | WRITABLE

    def alarm_seconds(self) -> float | None:
        """Return None: time changes nothing."""
        return None

    def activity(self) -> object:
        """Return None: nothing comes."""
        return None

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:  # noqa: ARG002
        """Refuse. Raises KernelError(ENOTTY)."""
        raise KernelError(ENOTTY, f"ioctl {request:#x}: no request that this file knows")


class StoredFile(FileDefaults, ABC):
    """A file whose pages lie in storage. `translate` says where; reading and sending follow from it.

    `window` is the host address of absolute address 0; `mappings` is the same for every open of the file.
    """

    __slots__ = ("_mappings", "_window")

    def __init__(self, window: int, mappings: FileMappings) -> None:
        self._window = window
        self._mappings = mappings

    @property
    def mappings(self) -> FileMappings:
        """Who maps the file."""
        return self._mappings

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """i_size."""

    @abstractmethod
    def _runs(self, first_page: int, pages: int, *, for_write: bool) -> Iterator[StorageRun]:
        """Yield where pages within the file lie."""

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> Iterator[StorageRun]:
        """Yield where pages of the file lie, up to its end, as runs; with `for_write` holes get storage first."""
        within = min(pages, hostmem.pages(self.size_bytes) - first_page)
        return self._runs(first_page, within, for_write=for_write) if within > 0 else iter(())

    def _runs_to_read(self, first_page: int, pages: int) -> Iterator[StorageRun]:
        """Yield where pages lie that a read is about to take, each run taken before the next one is asked for."""
        return self._runs(first_page, pages, for_write=False)

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy bytes into `buffer`."""
        return copy_pieces(self._pieces(position, len(buffer)), buffer)

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Hand bytes to `actor` from where they lie."""
        return send_pieces(self._pieces(position, count), actor)

    def _pieces(self, position: int, count: int) -> Iterator[memoryview]:
        end = clip(self, position, count)
        if end == position:
            return
        first = position >> PAGE_SHIFT
        for run in self._runs_to_read(first, hostmem.pages(end) - first):
            start = run.file_page << PAGE_SHIFT
            low, high = max(position, start), min(end, start + run.pages * PAGE_SIZE)
            if run.kind is not StorageKind.HOLE:
                address = self._window + (run.page_frame << PAGE_SHIFT) + low - start
                yield hostmem.view(address, high - low).toreadonly()
                continue
            while low < high:  # zeros come from one page however long the hole is
                size_bytes = min(PAGE_SIZE, high - low)
                yield ZERO_PAGE[:size_bytes]
                low += size_bytes


class UnmappableFile(FileDefaults):
    """A file without pages: there is no storage that could be mapped."""

    __slots__ = ()

    @property
    def mappings(self) -> FileMappings:
        """Nobody maps it."""
        return FileMappings()

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises KernelError(ENODEV)."""
        raise KernelError(ENODEV, f"mmap of {pages} pages from page {first_page}: this file has no pages")


class StreamFile(UnmappableFile):
    """A file without positions: what is read is gone, and what is written goes to its end."""

    __slots__ = ()
    seekable = False
    size_bytes = 0

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Refuse, as Linux does for what has no pages. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"sendfile of {count} bytes at {position} to {actor}: no file with pages")

    def truncate(self, size_bytes: int) -> None:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"truncate to {size_bytes} bytes: no file with a size")


def readv(file: FileOperations, position: int, buffers: Sequence[memoryview]) -> int:
    """Fill buffers in turn, as readv(2) does; return how many bytes were read in all."""
    done = 0
    for buffer in buffers:
        count = file.read(position + done, buffer)
        done += count
        if count < len(buffer):
            break
    return done


def clip(file: FileOperations, position: int, count: int) -> int:
    """Return where a read of `count` bytes ends: at the end of the file at the latest, and never before `position`."""
    if position < 0 or count < 0:
        raise KernelError(EINVAL, f"position {position}, count {count}: wanted no negative number")
    return max(position, min(position + count, file.size_bytes))


def copy_pieces(pieces: Iterable[memoryview], buffer: memoryview) -> int:
    """Copy pieces into `buffer` one behind the other; return how many bytes that were."""
    done = 0
    for piece in pieces:
        buffer[done : done + len(piece)] = piece
        done += len(piece)
    return done


def send_pieces(pieces: Iterable[memoryview], actor: Actor) -> int:
    """Hand pieces to `actor` until it takes one only in part; return how many bytes it took."""
    done = 0
    for piece in pieces:
        taken = actor(piece)
        done += taken
        if taken < len(piece):
            break
    return done


def copy_into_runs(window: int, runs: Iterable[StorageRun], position: int, data: bytes | memoryview) -> int:
    """Copy bytes that belong at `position` of a file into the storage of its pages; return how many had any.

    `window` is the host address of absolute address 0; the runs begin with the page that `position` lies in.
    """
    view, done = memoryview(data), 0
    for run in runs:
        low = position + done
        high = min(position + len(view), run.end << PAGE_SHIFT)
        address = window + (run.page_frame << PAGE_SHIFT) + low - (run.file_page << PAGE_SHIFT)
        hostmem.view(address, high - low)[:] = view[done : done + high - low]
        done += high - low
    return done
