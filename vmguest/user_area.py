"""Which user addresses a guest's mappings get, by page number.

The host makes one mapping of two that adjoin, if what they show adjoins too, and a process may have 65,530 of them. It
maps 2 MiB by one page-table entry where they begin on a 2 MiB boundary in the object and at the user address alike. So
the lower half of the user area has a place for every page of absolute storage, in the same order: files that adjoin in
a segment are mapped side by side, whichever is mapped first. What has no place there goes into the upper half.
"""

from typing import NamedTuple

from vmguest.storage import HUGE_PAGE_PAGES, PageRuns


class StoragePlace(NamedTuple):
    """Where the first page of a mapping lies, as if all of them lay like the longest run: in pages, maybe below 0."""

    page_frame: int  # in absolute storage
    object_page: int  # in the object that backs it


class UserArea:
    """The free pages of the user area, of which every task of a guest takes its addresses."""

    def __init__(self, first_page: int, pages: int) -> None:
        self._first_page = first_page
        self._upper_half = first_page + pages // 2
        self._runs = PageRuns(first_page, pages)

    @property
    def free_pages(self) -> int:
        """Pages that are not handed out."""
        return self._runs.free_pages

    def allocate(self, pages: int) -> int | None:
        """Return the first page of a run in the upper half, or None where no free run is long enough."""
        return self._runs.allocate(pages, from_page=self._upper_half)

    def allocate_as_stored(self, pages: int, place: StoragePlace) -> int | None:
        """Return the first page of the run that `place` has in the lower half, or None where that is taken."""
        first = self._first_page + place.page_frame
        first += (place.object_page - first) % HUGE_PAGE_PAGES  # for an object that begins off a boundary of 2 MiB
        return first if self._runs.take(first, pages) else None

    def allocate_congruent(self, pages: int, place: StoragePlace) -> int | None:
        """Return the first page of a run in the upper half that huge pages can map, or None."""
        return self._runs.allocate(pages, from_page=self._upper_half, congruent_to=place.object_page)

    def take(self, first: int, pages: int) -> bool:
        """Hand out these very pages; return False, and nothing, unless all of them are free."""
        return self._runs.take(first, pages)

    def release(self, first: int, pages: int) -> None:
        """Take a run back."""
        self._runs.release(first, pages)
