"""How many pages of segments stand once for several guests, counted as KSM counts: without stopping anybody."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dcss.account.pagemap import is_file, is_present
from dcss.account.proc import ProcessGoneError, family
from dcss.account.space import ProcessPages
from dcss.account.targets import AddressRange, Object
from dcss.errors import MeasurementDeniedError


class SharingGuest(NamedTuple):
    """A guest's process, and the host addresses where it uses pages of segments."""

    pid: int
    areas: Sequence[AddressRange]


class SharedPages(NamedTuple):
    """`shared` pages stand once and are used by two guests or more, `sharing` is how many more users they have."""

    shared: int
    sharing: int


def shared_pages(guests: Iterable[SharingGuest], pages_of: Mapping[Object, int]) -> SharedPages | None:
    """Count over segments, given with their sizes in pages; None where page tables may not be read.

    A page counts once for each guest that has it present, however often it maps it. A guest that ends is left out.
    """
    users = {found: np.zeros(pages, np.uint32) for found, pages in pages_of.items()}
    objects = frozenset(users)
    for guest in guests:
        try:
            spaces = [ProcessPages.read(pid, objects) for pid in family((guest.pid,))]
        except ProcessGoneError:
            continue
        except MeasurementDeniedError:
            return None
        for found, pages in pages_of.items():
            used = np.zeros(pages, np.bool_)
            for space in spaces:
                for area in guest.areas:
                    mapped = space.of_object(found, area)
                    used[mapped.object_pages[is_present(mapped.entries) & is_file(mapped.entries)]] = True
            users[found] += used
    shared = [counts[counts > 1] for counts in users.values()]
    return SharedPages(sum(map(len, shared)), int(sum(int(counts.sum()) - len(counts) for counts in shared)))
