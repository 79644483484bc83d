"""What sharing saves, defined once: pages that each guest maps, summed, less the same pages counted once."""

from collections.abc import Iterable

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Flags
from dcss.results import Totals


class SharingSum:
    """Adds up guests, of which each says which of `segment_pages` pages it has in its user mappings.

    Equal places are the same frame: an object in shared memory has one frame for each of its pages.
    """

    def __init__(self, segment_pages: int) -> None:
        self._without_pages = 0
        self._mapped_by_any = np.zeros(segment_pages, np.bool_)

    def add(self, mapped: Flags) -> None:
        """Add one guest."""
        self._without_pages += int(np.count_nonzero(mapped))
        self._mapped_by_any |= mapped

    def totals(self) -> Totals:
        """Return the totals over all guests so far."""
        with_pages = int(np.count_nonzero(self._mapped_by_any))
        saved_pages = self._without_pages - with_pages
        return Totals(with_pages * PAGE_SIZE, self._without_pages * PAGE_SIZE, saved_pages * PAGE_SIZE)


def totals_of(mapped: Iterable[Flags]) -> Totals:
    """Return the totals over guests, given one after the other."""
    total: SharingSum | None = None
    for guest in mapped:
        total = total or SharingSum(len(guest))
        total.add(guest)
    return (total or SharingSum(0)).totals()
