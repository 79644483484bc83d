"""How much is read at once where a program reads a file through the page cache: mm/readahead.c of Linux 3.13.

Reads that follow each other find ever longer windows of pages there already, up to 128 KiB; a read that does not follow
the one before it gets the pages that it asks for. There is no waiting for a disk here that could be hidden, so a window
is read when its first page is wanted, not ahead of that.
"""

from dcss.abi.page import PAGE_SIZE
from vmguest.page_lru import chunks

MAX_WINDOW_PAGES = (128 << 10) // PAGE_SIZE  # VM_MAX_READAHEAD


class ReadAhead:
    """The windows of one open file (struct file_ra_state); `last_chunk` is where the last read ended."""

    __slots__ = ("_end", "_next_page", "_size", "last_chunk")

    def __init__(self) -> None:
        self.last_chunk: int | None = None
        self._size = 0  # pages of the last window
        self._end = 0  # the page behind the last window
        self._next_page = 0  # where the next read in sequence begins; the first one at the start of the file is one

    def window(self, missing_page: int, pages: int) -> int:
        """Return how many pages to read from one that is not cached on, for a read that wants `pages` of them."""
        sequential = self._next_page - 1 <= missing_page <= self._next_page
        if not sequential:
            self._size = 0
            return pages
        follows = self._size and missing_page == self._end
        self._size = min(2 * self._size, MAX_WINDOW_PAGES) if follows else _first_window(pages)
        self._end = missing_page + max(self._size, pages)
        return max(self._size, pages)

    def read(self, first_page: int, pages: int) -> None:
        """Note what a read has taken."""
        self._next_page = first_page + pages
        self.last_chunk = chunks(first_page, pages)[-1]


def _first_window(pages: int) -> int:
    """Return the size of a first window: a power of two, twice or four times of what is small (get_init_ra_size)."""
    size = 1 << max(0, pages - 1).bit_length()
    if size <= MAX_WINDOW_PAGES // 32:
        return size * 4
    if size <= MAX_WINDOW_PAGES // 4:
        return size * 2
    return MAX_WINDOW_PAGES
