"""Which copies of file data go when real storage runs short: two lists, as mm/vmscan.c and mm/swap.c of Linux have.

What is read goes to the inactive list, and to the active one at its second use; pages go from the oldest end of the
inactive list, which is refilled from the active one where that is longer. So what is read once, however much it is,
leaves in place what is used again and again. The lists hold chunks of files rather than pages, each as long as the
longest read-ahead.
"""

from collections import OrderedDict
from typing import NamedTuple, Protocol

from vmguest.storage import RealStorage

CHUNK_PAGES = 32
_CLUSTER_PAGES = 32  # reclaimed at once at least, so that not every allocation has to (SWAP_CLUSTER_MAX)


class FileCache(Protocol):
    """A cache of files, as the lists see it; files are known by their inode numbers."""

    def cached_pages(self, number: int, first_page: int, pages: int) -> int:
        """Return how many of these pages of a file have a copy."""
        ...

    def evict(self, number: int, first_page: int, pages: int) -> int:
        """Give back the copies of these pages that nobody needs; return how many."""
        ...

    def write_back_idle(self) -> None:
        """Write changed pages that are not mapped, so that they can be evicted."""
        ...

    @property
    def dirty_pages(self) -> int:
        """Pages that were changed and are not written yet."""
        ...


class _Chunk(NamedTuple):
    cache: FileCache
    number: int
    place: int  # among the chunks of the file


class PageLru:
    """The lists of one guest, and how often what happened to them, as /proc/vmstat counts it."""

    def __init__(self, storage: RealStorage) -> None:
        self.activated = self.deactivated = self.scanned = self.stolen = 0
        self._inactive: OrderedDict[_Chunk, bool] = OrderedDict()  # whether it was used since it is there
        self._active: OrderedDict[_Chunk, None] = OrderedDict()
        self._reclaiming = False
        storage.reclaim = self.reclaim

    def added(self, cache: FileCache, number: int, first_page: int, pages: int) -> None:
        """Put pages that were just read on the inactive list."""
        for place in chunks(first_page, pages):
            chunk = _Chunk(cache, number, place)
            if chunk not in self._active:
                self._inactive.setdefault(chunk, False)

    def used(self, cache: FileCache, number: int, first_page: int, pages: int, last_chunk: int | None = None) -> None:
        """Note a use of pages (mark_page_accessed), but none of `last_chunk`, in which a program only reads on."""
        for place in chunks(first_page, pages):
            chunk = _Chunk(cache, number, place)
            if place == last_chunk:
                continue
            if chunk in self._active:
                self._active.move_to_end(chunk)
            elif self._inactive.get(chunk):
                del self._inactive[chunk]
                self._active[chunk] = None
                self.activated += _pages_of(chunk)
            elif chunk in self._inactive:
                self._inactive[chunk] = True

    def forget(self, cache: FileCache, number: int | None = None) -> None:
        """Take a file's chunks off the lists, or those of all files of a cache."""
        for listed in (self._inactive, self._active):
            for chunk in [c for c in listed if c.cache is cache and number in {None, c.number}]:
                del listed[chunk]

    def reclaim(self, pages: int) -> int:
        """Give back pages of the caches, the oldest ones first; return how many, 0 where none can go.

        Pages that are changed, mapped or in use just now stay; where that is all, changed ones are written first.
        """
        if self._reclaiming:  # what is written back may itself need storage
            return 0
        self._reclaiming = True
        try:
            wanted = max(pages, _CLUSTER_PAGES)
            freed = self._shrink(wanted)
            if freed < pages and self.dirty_pages:
                for cache in {chunk.cache for chunk in (*self._inactive, *self._active)}:
                    cache.write_back_idle()
                freed += self._shrink(wanted - freed)
            return freed
        finally:
            self._reclaiming = False

    @property
    def inactive_pages(self) -> int:
        """Pages with a copy on the inactive list."""
        return sum(map(_pages_of, self._inactive))

    @property
    def active_pages(self) -> int:
        """Pages with a copy on the active list."""
        return sum(map(_pages_of, self._active))

    @property
    def dirty_pages(self) -> int:
        """Pages that were changed and are not written yet."""
        return sum(cache.dirty_pages for cache in {chunk.cache for chunk in (*self._inactive, *self._active)})

    def _shrink(self, wanted: int) -> int:
        """Evict chunks from the old end of the inactive list, looking at each chunk once."""
        freed = 0
        for _ in range(len(self._inactive) + len(self._active)):
            if len(self._inactive) <= len(self._active):
                self._deactivate()
            chunk, used = self._inactive.popitem(last=False)
            pages = _pages_of(chunk)
            evicted = chunk.cache.evict(chunk.number, chunk.place * CHUNK_PAGES, CHUNK_PAGES)
            self.scanned += pages
            self.stolen += evicted
            freed += evicted
            if evicted < pages:
                self._inactive[chunk] = used  # somebody needs the rest
            if freed >= wanted:
                break
        return freed

    def _deactivate(self) -> None:
        chunk, _ = self._active.popitem(last=False)
        self._inactive[chunk] = False
        self.deactivated += _pages_of(chunk)


def chunks(first_page: int, pages: int) -> range:
    """Return the places of the chunks that pages of a file lie in."""
    return range(first_page // CHUNK_PAGES, -(-(first_page + pages) // CHUNK_PAGES))


def _pages_of(chunk: _Chunk) -> int:
    return chunk.cache.cached_pages(chunk.number, chunk.place * CHUNK_PAGES, CHUNK_PAGES)
