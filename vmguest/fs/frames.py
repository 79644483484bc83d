"""The pages of a file that lives in real storage, as runs of frames; what has no frame is a hole and reads as zeros."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.fs.xip import ZERO_PAGE
from vmguest.machine import RealStorage


class FrameRun(NamedTuple):
    """Contiguous pages of a file in contiguous frames."""

    file_page: int
    frame: int
    pages: int

    @property
    def end(self) -> int:
        """The first file page behind the run."""
        return self.file_page + self.pages


class FilePages:
    """One file's frames. Runs are as long as real storage gives them, and joined where they meet."""

    def __init__(self, storage: RealStorage) -> None:
        self._storage = storage
        self._runs: list[FrameRun] = []

    @property
    def pages(self) -> int:
        """Pages that have a frame."""
        return sum(run.pages for run in self._runs)

    def runs(self, first_page: int, pages: int) -> Iterator[FrameRun]:
        """Yield the runs of these pages, cut to them; holes are left out."""
        for run in self._runs[max(0, self._index(first_page)) :]:
            low, high = max(run.file_page, first_page), min(run.end, first_page + pages)
            if low < high:
                yield FrameRun(low, run.frame + low - run.file_page, high - low)

    def fill(self, first_page: int, pages: int) -> int:
        """Give these pages frames; return how many from the first on have one, fewer where storage ran out."""
        page, end = first_page, first_page + pages
        while page < end:
            index = self._index(page)
            if index >= 0 and page < self._runs[index].end:
                page = self._runs[index].end
                continue
            behind = self._runs[index + 1].file_page if index + 1 < len(self._runs) else end
            run = self._allocate(page, min(behind, end) - page)
            if run is None:
                break
            self._insert(index + 1, run)
            page = run.end
        return min(page, end) - first_page

    def pieces(self, position: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes from `position` to `end` where they are: frames, writable, and the zero page for holes."""
        while position < end:
            index = self._index(position // PAGE_SIZE)
            run = self._runs[index] if index >= 0 else None
            if run is not None and position < run.end * PAGE_SIZE:
                high = min(end, run.end * PAGE_SIZE)
                address = self._storage.address(run.frame) + position - run.file_page * PAGE_SIZE
                yield hostmem.view(address, high - position)
            else:
                high = min(end, (position // PAGE_SIZE + 1) * PAGE_SIZE)
                yield ZERO_PAGE[: high - position]
            position = high

    def cut(self, size_bytes: int) -> None:
        """Give back every page behind `size_bytes`, and clear the rest of the last one."""
        keep = hostmem.pages(size_bytes)
        while self._runs and self._runs[-1].end > keep:
            run = self._runs.pop()
            kept = max(0, keep - run.file_page)
            self._storage.release(run.frame + kept, run.pages - kept)
            if kept:
                self._runs.append(run._replace(pages=kept))
        if self._runs and self._runs[-1].end == keep and size_bytes % PAGE_SIZE:
            for rest in self.pieces(size_bytes, keep * PAGE_SIZE):
                rest[:] = bytes(len(rest))

    def _index(self, page: int) -> int:
        """Return the index of the last run that begins at or before `page`, -1 for none."""
        return bisect_right(self._runs, page, key=lambda run: run.file_page) - 1

    def _allocate(self, file_page: int, pages: int) -> FrameRun | None:
        while pages:
            try:
                return FrameRun(file_page, self._storage.allocate(pages), pages)
            except KernelError:
                pages //= 2  # storage may be in pieces
        return None

    def _insert(self, index: int, run: FrameRun) -> None:
        before = self._runs[index - 1] if index else None
        if before is not None and before.end == run.file_page and before.frame + before.pages == run.frame:
            self._runs[index - 1] = before._replace(pages=before.pages + run.pages)
        else:
            self._runs.insert(index, run)
