"""Areas of user memory, what is needed of a file that is mapped, and the errors of an access."""

from collections.abc import Iterator
from errno import EFAULT
from typing import Protocol, Self

from dcss.abi.page import PAGE_SHIFT
from dcss.errors import KernelError
from vmguest.fs.file import FileMappings
from vmguest.storage import StorageRun

PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC = 0, 1, 2, 4


class MemoryAccessError(KernelError):
    """An access that user memory does not allow; where a system call makes it, its errno is EFAULT."""

    def __init__(self, message: str) -> None:
        super().__init__(EFAULT, message)

    def __reduce__(self) -> tuple[type, tuple[str | None]]:
        return type(self), (self.strerror,)


class SegmentationFaultError(MemoryAccessError):
    """SIGSEGV: nothing is mapped there, or its protection forbids the access."""


class BusError(MemoryAccessError):
    """SIGBUS: an access beyond the last page of the file."""


class MappableFile(Protocol):
    """What an address space needs of an open file."""

    @property
    def mappings(self) -> FileMappings:
        """Who maps the file; the same for every open of it."""
        ...

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> Iterator[StorageRun]:
        """Yield where pages of the file lie, up to its end. Raises KernelError(ENODEV) where it has no pages."""
        ...

    def check_mapping(self, *, shared_writable: bool) -> None:
        """Raise KernelError(EACCES) where the file was not opened for what the mapping may do."""
        ...

    def stored_into(self) -> None:
        """Note that a page was stored into through a shared mapping, for the first time since it was written back."""
        ...

    def hold(self) -> Self:
        """Keep the file open for one more area, which closes it."""
        ...

    def close(self) -> None:
        """End a hold."""
        ...


class MemoryArea:
    """User pages that are mapped alike (struct vm_area_struct); anonymous memory has no `file`."""

    __slots__ = ("file", "file_page", "first_page", "pages", "protection", "shared")

    def __init__(
        self, first_page: int, pages: int, protection: int, file: MappableFile | None, file_page: int, *, shared: bool
    ) -> None:
        self.first_page = first_page
        self.pages = pages
        self.protection = protection
        self.file = file
        self.file_page = file_page
        self.shared = shared

    @property
    def end(self) -> int:
        """The first page behind the area."""
        return self.first_page + self.pages

    @property
    def address(self) -> int:
        """The address of its first byte."""
        return self.first_page << PAGE_SHIFT

    def copy(self) -> "MemoryArea":
        """Return an area that is alike, which holds the file once more."""
        file = None if self.file is None else self.file.hold()
        return MemoryArea(self.first_page, self.pages, self.protection, file, self.file_page, shared=self.shared)

    def split(self, page: int) -> "MemoryArea":
        """Cut the area before a user page; return the rest, which holds the file once more."""
        kept = page - self.first_page
        file = None if self.file is None else self.file.hold()
        rest = MemoryArea(page, self.pages - kept, self.protection, file, self.file_page + kept, shared=self.shared)
        self.pages = kept
        return rest
