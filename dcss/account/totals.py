"""What sharing saves, defined once: pages that each guest maps, summed, less the same pages counted once."""

from collections.abc import Iterable

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Flags
from dcss.results import Totals


def totals_of(mapped: Iterable[Flags]) -> Totals:
    """Return the totals over guests; each array says which segment pages one guest has in its user mappings.

    Equal places of the arrays are the same frame: an object in shared memory has one frame for each of its pages.
    """
    without_pages = 0
    union: Flags | None = None
    for guest in mapped:
        without_pages += int(np.count_nonzero(guest))
        union = guest.copy() if union is None else union | guest
    with_pages = 0 if union is None else int(np.count_nonzero(union))
    return Totals(with_pages * PAGE_SIZE, without_pages * PAGE_SIZE, (without_pages - with_pages) * PAGE_SIZE)
