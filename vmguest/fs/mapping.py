"""A file mapped at user level: runs of pages, each at one host address. It knows no file system."""

from bisect import bisect_right
from collections.abc import Callable
from errno import EFAULT
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem


class BusError(KernelError):
    """SIGBUS: an access beyond the last page of the file."""

    def __init__(self, message: str) -> None:
        super().__init__(EFAULT, message)

    def __reduce__(self) -> tuple[type, tuple[str | None]]:
        return type(self), (self.strerror,)


class UserRun(NamedTuple):
    """Contiguous pages of a mapping: `file_page` is found at host address `address`; a hole reads as zeros."""

    file_page: int
    address: int
    pages: int
    hole: bool = False


class UserMapping:
    """One vm_area of a file. `unmap` is what gives its addresses back; None where they are not the mapping's own."""

    def __init__(self, runs: tuple[UserRun, ...], size_bytes: int, unmap: Callable[[], None]) -> None:
        self.runs = runs
        self.size_bytes = size_bytes
        self._unmap = unmap
        self._alive = True

    @property
    def pages(self) -> int:
        """Pages that the mapping shows, holes included."""
        return sum(run.pages for run in self.runs)

    def view(self, file_page: int) -> memoryview:
        """Return one page, read-only. Raises BusError beyond the end of the file, or once unmapped."""
        run = self._run_at(file_page)
        return hostmem.view(run.address + (file_page - run.file_page) * PAGE_SIZE, PAGE_SIZE).toreadonly()

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return a copy of bytes as a load instruction would see them, up to the end of the file."""
        end = min(offset + size_bytes, self.size_bytes)
        pieces = []
        while offset < end:
            within = offset % PAGE_SIZE
            pieces.append(bytes(self.view(offset // PAGE_SIZE)[within : min(PAGE_SIZE, within + end - offset)]))
            offset += len(pieces[-1])
        return b"".join(pieces)

    def unmap(self) -> None:
        """End the mapping; later access raises BusError."""
        if self._alive:
            self._alive = False
            self._unmap()

    def _run_at(self, file_page: int) -> UserRun:
        index = bisect_right(self.runs, file_page, key=lambda run: run.file_page) - 1
        if self._alive and index >= 0:
            run = self.runs[index]
            if file_page < run.file_page + run.pages:
                return run
        raise BusError(f"page {file_page}: the mapping shows {self.pages if self._alive else 0} pages of the file")
