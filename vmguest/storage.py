"""A guest's storage by pages: runs of page numbers to hand out, real storage, and runs of storage that hold a file."""

from bisect import bisect_right
from collections.abc import Callable
from enum import Enum
from errno import EINVAL, ENOMEM
from typing import NamedTuple

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem

PREFIX_AREA_PAGES = 2  # absolute 0-1FFF is the lowcore; nothing is allocated there
HUGE_PAGE_PAGES = (2 << 20) // PAGE_SIZE
ZERO_PAGE = memoryview(bytes(PAGE_SIZE))


class ProgramCheckError(KernelError):
    """The instruction was not executed: an operand is misaligned or lies outside storage."""

    def __init__(self, message: str) -> None:
        super().__init__(EINVAL, message)

    def __reduce__(self) -> tuple[type, tuple[str | None]]:
        return type(self), (self.strerror,)


class StorageKind(Enum):
    """Where a file's page lies."""

    HOLE = "hole"  # nowhere: it reads as the one zero page
    REAL = "real"  # in the guest's own real storage
    SEGMENT = "segment"  # in storage that CP attached above it


class StorageRun(NamedTuple):
    """Contiguous pages of a file in contiguous page frames; a hole has none, and `page_frame` 0."""

    file_page: int
    page_frame: int  # absolute page number of the first page
    pages: int
    kind: StorageKind

    @property
    def end(self) -> int:
        """The first file page behind the run."""
        return self.file_page + self.pages


class PageRuns:
    """Numbers of pages, handed out in contiguous runs, lowest first, so that what was never used stays untouched."""

    def __init__(self, first: int, pages: int) -> None:
        self._free = [(first, pages)]  # ascending; no two adjoin

    @property
    def free_pages(self) -> int:
        """Pages that are not handed out."""
        return sum(pages for _, pages in self._free)

    def allocate(self, pages: int, *, from_page: int = 0, congruent_to: int | None = None) -> int | None:
        """Return the first page of a contiguous run at or above `from_page`, or None where no free run is long enough.

        With `congruent_to` the first page has the same place in a huge page as that page number.
        """
        for index in range(max(0, self._index(from_page)), len(self._free)):
            start, free_pages = self._free[index]
            first = max(start, from_page)
            if congruent_to is not None:
                first += (congruent_to - first) % HUGE_PAGE_PAGES
            if first + pages <= start + free_pages:
                self._cut_out(index, first, pages)
                return first
        return None

    def take(self, first: int, pages: int) -> bool:
        """Hand out these very pages; return False, and nothing, unless all of them are free."""
        index = self._index(first)
        if index < 0 or first + pages > sum(self._free[index]):
            return False
        self._cut_out(index, first, pages)
        return True

    def release(self, first: int, pages: int) -> None:
        """Take a run back and join it with free neighbours."""
        end, index = first + pages, self._index(first)
        low = high = index + 1
        if index >= 0 and sum(self._free[index]) == first:
            low, first = index, self._free[index][0]
        if high < len(self._free) and self._free[high][0] == end:
            end, high = sum(self._free[high]), high + 1
        self._free[low:high] = [(first, end - first)]

    def _index(self, page: int) -> int:
        """Return the index of the last free run that begins at or before a page, -1 for none."""
        return bisect_right(self._free, page, key=_first_of) - 1

    def _cut_out(self, index: int, first: int, pages: int) -> None:
        """Cut pages out of a free run."""
        start, free_pages = self._free[index]
        below, above = (start, first - start), (first + pages, start + free_pages - first - pages)
        self._free[index : index + 1] = [run for run in (below, above) if run[1]]


def _first_of(run: tuple[int, int]) -> int:
    return run[0]


def program_range(size_bytes: int) -> tuple[int, int]:
    """Return from where to where real storage is for what programs have of their own, in bytes from absolute 0.

    The kernel takes pages there only where none is left below: who looks from outside can tell whose copies are whose.
    """
    return size_bytes // 4 & -PAGE_SIZE, size_bytes


class RealStorage:
    """A guest's own memory: page frames from absolute 0 up, each zero when handed out.

    `base` is the host address of absolute address 0, and of storage above real storage too. `reclaim` is called where
    pages are wanted and not free: it gives back what it can of so many, and returns how many that were.
    """

    def __init__(self, base: int, size_bytes: int) -> None:
        hostmem.map_storage(base, size_bytes)
        self.base = base
        self.size_bytes = size_bytes
        self.reclaim: Callable[[int], int] | None = None
        self._frames = PageRuns(PREFIX_AREA_PAGES, size_bytes // PAGE_SIZE - PREFIX_AREA_PAGES)

    @property
    def free_bytes(self) -> int:
        """Bytes that are not allocated."""
        return self._frames.free_pages * PAGE_SIZE

    def allocate(self, pages: int) -> int:
        """Return the first page frame of a contiguous zeroed run. Raises KernelError(ENOMEM) where there is none."""
        frame = self.try_allocate(pages)
        while frame is None:  # what is free may be in pieces
            if self.reclaim is None or not self.reclaim(pages):
                raise self.shortage(pages)
            frame = self._frames.allocate(pages)
        return frame

    def allocate_for_program(self) -> int:
        """Return a zeroed page frame of the range that programs have. Raises KernelError(ENOMEM) where none is free."""
        first = program_range(self.size_bytes)[0] >> PAGE_SHIFT
        frame = self._frames.allocate(1, from_page=first)
        while frame is None:
            if self.reclaim is None or not self.reclaim(1):
                raise self.shortage(1)
            frame = self._frames.allocate(1, from_page=first)
        return frame

    def try_allocate_for_program(self, pages: int) -> int | None:
        """Return the first of a run of zeroed page frames of that range; None where none is free."""
        return self._frames.allocate(pages, from_page=program_range(self.size_bytes)[0] >> PAGE_SHIFT)

    def try_allocate(self, pages: int) -> int | None:
        """Return the first page frame of a contiguous zeroed run, None where there is none, free pages or not."""
        frame = self._frames.allocate(pages)
        if frame is None and self.reclaim is not None:
            missing = pages - self._frames.free_pages
            if missing > 0 and self.reclaim(missing):
                frame = self._frames.allocate(pages)
        return frame

    def shortage(self, pages: int) -> KernelError:
        """Return the error that says that so many pages are not free in one run."""
        return KernelError(
            ENOMEM,
            f"real storage of {self.size_bytes} bytes: wanted {pages * PAGE_SIZE} bytes in one run,"
            f" found {self.free_bytes} bytes free (give the guest more `storage:`)",
        )

    def release(self, frame: int, pages: int) -> None:
        """Take a run back; the host gets its memory back at once, and the frames read as zeros again."""
        hostmem.discard(self.address(frame), pages * PAGE_SIZE)
        self._frames.release(frame, pages)

    def address(self, frame: int) -> int:
        """Return the host address of a page frame."""
        return self.base + (frame << PAGE_SHIFT)

    def view(self, address: int, size_bytes: int) -> memoryview:
        """Return bytes at an absolute address. Raises ProgramCheckError where they are not in real storage."""
        if address < 0 or address + size_bytes > self.size_bytes:
            raise ProgramCheckError(
                f"addressing exception: {size_bytes} bytes at {address:#x}, storage ends at {self.size_bytes:#x}"
            )
        return hostmem.view(self.base + address, size_bytes)
