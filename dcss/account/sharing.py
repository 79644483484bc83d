"""How many pages of segments stand once for several guests, counted as KSM counts: without stopping anybody."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dcss.account.pagemap import Flags, is_file, is_present
from dcss.account.proc import ProcessGoneError, family
from dcss.account.space import ProcessPages
from dcss.account.targets import AddressRange, Object
from dcss.account.turns import Turns, is_due, turns_of
from dcss.errors import MeasurementDeniedError


class SharingGuest(NamedTuple):
    """A guest's process, and the host addresses where it uses pages of segments."""

    pid: int
    areas: Sequence[AddressRange]


class SharedPages(NamedTuple):
    """`shared` pages stand once and are used by two guests or more, `sharing` is how many more users they have."""

    shared: int
    sharing: int


class SharingCounter:
    """Counts again and again: of guests that have not run since they were counted, page tables are not read anew."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._looks = 0

    def count(self, guests: Iterable[SharingGuest], pages_of: Mapping[Object, int]) -> SharedPages | None:
        """Count over segments, given with their sizes in pages; None where page tables may not be read.

        A page counts once for each guest that has it present, however often it maps it. A guest that ends is left out.
        """
        self._looks += 1
        counted: dict[int, _Known] = {}
        users = {found: np.zeros(pages, np.uint32) for found, pages in pages_of.items()}
        for guest in guests:
            try:
                counted[guest.pid] = self._counted(guest, pages_of)
            except ProcessGoneError:
                continue
            except MeasurementDeniedError:
                return None
            for found, pages in pages_of.items():
                users[found] += np.unpackbits(counted[guest.pid].used[found], count=pages)
        self._known = counted
        shared = [counts[counts > 1] for counts in users.values()]
        return SharedPages(sum(map(len, shared)), int(sum(int(counts.sum()) - len(counts) for counts in shared)))

    def _counted(self, guest: SharingGuest, pages_of: Mapping[Object, int]) -> "_Known":
        known = self._known.get(guest.pid)
        if known is not None and not is_due(guest.pid, self._looks) and known.serves(guest, pages_of):
            return known
        pids = family((guest.pid,))
        before = turns_of(pids)
        spaces = [ProcessPages.read(pid, frozenset(pages_of)) for pid in pids]
        used = {found: np.packbits(_used(guest, spaces, found, pages)) for found, pages in pages_of.items()}
        return _Known(guest, dict(pages_of), used, before)


class _Known(NamedTuple):
    """Which pages of each object a guest uses, a bit for each, and the turns that its processes had had before."""

    guest: SharingGuest
    pages_of: Mapping[Object, int]
    used: Mapping[Object, npt.NDArray[np.uint8]]
    turns: Turns | None

    def serves(self, guest: SharingGuest, pages_of: Mapping[Object, int]) -> bool:
        """Say whether it is still so: a guest with the same processes, of which none has run."""
        same = self.turns is not None and self.guest == guest and self.pages_of == pages_of
        return same and self.turns == turns_of(family((guest.pid,)))


def _used(guest: SharingGuest, spaces: Iterable[ProcessPages], found: Object, pages: int) -> Flags:
    used: Flags = np.zeros(pages, np.bool_)
    for space in spaces:
        for area in guest.areas:
            mapped = space.of_object(found, area)
            used[mapped.object_pages[is_present(mapped.entries) & is_file(mapped.entries)]] = True
    return used
