"""What sharing saves, defined once: pages that each guest maps, summed, less what the loaded segments keep resident."""

from collections.abc import Iterable, Sequence

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Flags
from dcss.results import Totals


class SharingSum:
    """Adds up guests, of which each says which pages it has in its user mappings, in one row of all segments' pages.

    Equal places are the same frame: an object in shared memory has one frame for each of its pages.
    """

    def __init__(self, segment_pages: Sequence[int]) -> None:
        self._bounds = np.cumsum([0, *segment_pages]).tolist()
        self._without_pages = 0
        self._mapped_by_any = np.zeros(self._bounds[-1], np.bool_)
        self._loaded: set[int] = set()

    def add(self, mapped: Flags, loaded: Iterable[int]) -> None:
        """Add one guest that should share; `loaded` numbers the segments that it has at any address."""
        self._without_pages += int(np.count_nonzero(mapped))
        self._loaded.update(loaded)
        self.note_use(mapped)

    def note_use(self, mapped: Flags) -> None:
        """Note what a guest uses, whether or not it should share."""
        self._mapped_by_any |= mapped

    def used_bytes(self) -> list[int]:
        """Return for each segment how much of it any guest maps."""
        used = np.concatenate(([0], np.cumsum(self._mapped_by_any)))[self._bounds]
        return [int(pages) * PAGE_SIZE for pages in np.diff(used)]

    def totals(self, resident_bytes: Sequence[int]) -> Totals:
        """Return the totals over all guests so far, given what each segment keeps resident; savings may be negative."""
        without_bytes = self._without_pages * PAGE_SIZE
        with_bytes = sum(resident_bytes[index] for index in self._loaded)
        return Totals(with_bytes, without_bytes, without_bytes - with_bytes)
