"""What a regular file's operations offer, whichever way they get at its bytes."""

from collections.abc import Callable, Iterable, Sequence
from errno import EINVAL
from typing import Protocol

from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.fs.mapping import UserMapping

Actor = Callable[[memoryview], int]  # takes bytes, says how many it took: what sendfile's actor does in the kernel


class RegularFile(Protocol):
    """An open regular file: positions and sizes in bytes, nothing is read beyond i_size."""

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

    def mmap(self, first_page: int, pages: int) -> UserMapping:
        """Map pages read-only at user level, each present on return. Raises KernelError(EINVAL) for no pages."""
        ...


class WritableFile(RegularFile, Protocol):
    """An open regular file of a file system that is mounted read-write."""

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Copy bytes into the file; return how many, fewer than given only where storage ran out in between.

        Raises KernelError(ENOSPC) where not one byte found room, EINVAL for a position below 0.
        """
        ...

    def truncate(self, size_bytes: int) -> None:
        """Cut the file or let it grow by a hole. Raises KernelError(EINVAL) for a size below 0."""
        ...


def readv(file: RegularFile, position: int, buffers: Sequence[memoryview]) -> int:
    """Fill buffers in turn, as readv(2) does; return how many bytes were read in all."""
    done = 0
    for buffer in buffers:
        count = file.read(position + done, buffer)
        done += count
        if count < len(buffer):
            break
    return done


def clip(file: RegularFile, position: int, count: int) -> int:
    """Return where a read of `count` bytes ends: at the end of the file at the latest, and never before `position`."""
    if position < 0 or count < 0:
        raise KernelError(EINVAL, f"position {position}, count {count}: wanted no negative number")
    return max(position, min(position + count, file.size_bytes))


def check_pages(file: RegularFile, first_page: int, pages: int) -> int:
    """Return how many of `pages` from `first_page` on the file has. Raises KernelError(EINVAL) for none."""
    within = min(pages, hostmem.pages(file.size_bytes) - first_page)
    if first_page < 0 or within <= 0:
        raise KernelError(EINVAL, f"mmap of page {first_page}: the file has {hostmem.pages(file.size_bytes)} pages")
    return within


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
