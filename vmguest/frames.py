"""Pages that lie in real storage, as runs of frames by page number; a page without a frame is a hole."""

from bisect import bisect_right
from collections.abc import Iterator

from dcss.abi.page import PAGE_SIZE
from vmguest import hostmem
from vmguest.storage import RealStorage, StorageKind, StorageRun


class FrameMap:
    """The frames of one file or address space. Runs are as long as real storage gives them, joined where they meet."""

    __slots__ = ("_runs", "_storage")

    def __init__(self, storage: RealStorage) -> None:
        self._storage = storage
        self._runs: list[StorageRun] = []

    @property
    def pages(self) -> int:
        """Pages that have a frame."""
        return sum(run.pages for run in self._runs)

    def runs(self, first_page: int, pages: int) -> Iterator[StorageRun]:
        """Yield the runs of these pages, cut to them; holes are left out."""
        for run in self.translate(first_page, pages):
            if run.kind is StorageKind.REAL:
                yield run

    def translate(self, first_page: int, pages: int) -> Iterator[StorageRun]:
        """Yield the runs of these pages, cut to them, holes too. Pages may be filled between two steps."""
        page, end = first_page, first_page + pages
        while page < end:
            index = self._index(page)
            run = self._runs[index] if index >= 0 else None
            if run is not None and page < run.end:
                stop = min(end, run.end)
                yield StorageRun(page, run.page_frame + page - run.file_page, stop - page, StorageKind.REAL)
            else:
                behind = self._runs[index + 1].file_page if index + 1 < len(self._runs) else end
                stop = min(end, behind)
                yield StorageRun(page, 0, stop - page, StorageKind.HOLE)
            page = stop

    def first_hole(self, first_page: int, pages: int) -> int | None:
        """Return the first of these pages that has no frame, None where all have one."""
        page, end = first_page, first_page + pages
        index = self._index(page)
        while page < end:
            if not 0 <= index < len(self._runs) or not self._runs[index].file_page <= page < self._runs[index].end:
                return page
            page = self._runs[index].end
            index += 1
        return None

    def fill(self, first_page: int, pages: int, limit: int | None = None) -> int:
        """Give these pages frames; return how many from the first on have one, fewer where storage ran out.

        At most `limit` frames are taken, if that is given.
        """
        for hole in self.translate(first_page, pages):
            if hole.kind is StorageKind.HOLE:
                page = hole.file_page
                while page < hole.end:
                    run = self._allocate(page, hole.end - page if limit is None else min(limit, hole.end - page))
                    if run is None:
                        return page - first_page
                    if limit is not None:
                        limit -= run.pages
                    self._insert(run)
                    page = run.end
        return pages

    def punch(self, first_page: int, pages: int) -> None:
        """Give back the frames of these pages, which are holes from then on."""
        end = first_page + pages
        index = max(0, self._index(first_page))
        while index < len(self._runs) and self._runs[index].file_page < end:
            run = self._runs[index]
            low, high = max(first_page, run.file_page), min(end, run.end)
            if low >= high:
                index += 1
                continue
            self._storage.release(run.page_frame + low - run.file_page, high - low)
            below = run._replace(pages=low - run.file_page)
            above = StorageRun(high, run.page_frame + high - run.file_page, run.end - high, run.kind)
            kept = [part for part in (below, above) if part.pages]
            self._runs[index : index + 1] = kept
            index += len(kept)

    def truncate(self, size_bytes: int) -> None:
        """Give back every page behind `size_bytes`, and clear the rest of the last one."""
        keep = hostmem.pages(size_bytes)
        if self._runs and self._runs[-1].end > keep:
            self.punch(keep, self._runs[-1].end - keep)
        if self._runs and self._runs[-1].end == keep and size_bytes % PAGE_SIZE:
            last = self._runs[-1]
            address = self._storage.address(last.page_frame + last.pages - 1) + size_bytes % PAGE_SIZE
            rest = hostmem.view(address, PAGE_SIZE - size_bytes % PAGE_SIZE)
            rest[:] = bytes(len(rest))

    def _index(self, page: int) -> int:
        """Return the index of the last run that begins at or before `page`, -1 for none."""
        return bisect_right(self._runs, page, key=_file_page) - 1

    def _allocate(self, file_page: int, pages: int) -> StorageRun | None:
        while pages:
            frame = self._storage.try_allocate(pages)
            if frame is not None:
                return StorageRun(file_page, frame, pages, StorageKind.REAL)
            pages //= 2  # storage may be in pieces
        return None

    def _insert(self, run: StorageRun) -> None:
        index = self._index(run.file_page)
        before = self._runs[index] if index >= 0 else None
        if before is not None and before.end == run.file_page and before.page_frame + before.pages == run.page_frame:
            self._runs[index] = before._replace(pages=before.pages + run.pages)
        else:
            self._runs.insert(index + 1, run)


def _file_page(run: StorageRun) -> int:
    return run.file_page
