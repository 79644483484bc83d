"""Sets of guests, each written once: pages and files name theirs by number."""

from collections.abc import Mapping, Sequence

import numpy as np

from dcss.report.html.encode import Numbers, encode_numbers, runs_of
from dcss.report.html.pages import Flags

_MOST_RANGES = 200_000  # of all sets together: 600 kB of a page


class GuestSets:
    """Gives each different set of guests a number; 0 is the empty one.

    A set is kept as ranges of guests, by their place in `names`. Where guests use pages in so many combinations that
    these would not fit into a page, only the sets' sizes are kept.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._place: Mapping[str, int] = {name: place for place, name in enumerate(names)}
        self._numbers: dict[bytes, int] = {}
        self._named: dict[tuple[str, ...], int] = {}  # thousands of files name the same guests
        self._ranges: list[Numbers] = []
        self._sizes: list[int] = []
        self._total = 0
        self.number_of(())

    @property
    def complete(self) -> bool:
        """Return True if the sets have their members, and not their sizes alone."""
        return self._total <= _MOST_RANGES

    def number_of(self, guests: tuple[str, ...]) -> int:
        """Return the number of a set of guests by name; a name that is no guest's is left out."""
        number = self._named.get(guests)
        if number is None:
            member = np.zeros(len(self._place), np.bool_)
            member[[self._place[guest] for guest in guests if guest in self._place]] = True
            number = self._named[guests] = self._number_of_flags(member)
        return number

    def numbers_of_pages(self, used_by: Mapping[str, Flags], pages: int) -> Numbers:
        """Return for each page the number of the set of guests that use it."""
        patterns: dict[bytes, tuple[Flags, list[int]]] = {}
        for guest, used in used_by.items():
            patterns.setdefault(np.packbits(used).tobytes(), (used, []))[1].append(self._place[guest])
        classes = np.zeros(pages, np.int64)
        for used, _ in patterns.values():
            classes = np.unique(classes * 2 + used, return_inverse=True)[1].reshape(pages)
        if not pages:
            return classes
        first_of_class = np.unique(classes, return_index=True)[1]
        member = np.zeros((len(first_of_class), len(self._place)), np.bool_)
        for used, places in patterns.values():
            member[np.ix_(used[first_of_class], np.array(places))] = True
        return np.array([self._number_of_flags(row) for row in member], np.int64)[classes]

    def encoded(self) -> dict[str, object]:
        """Return the sets' sizes and, where they fit, their members: the number of ranges, then gap and length each."""
        ranges = None
        if self.complete:
            streams = [np.concatenate(([len(each) // 2], each)) for each in self._ranges]
            ranges = encode_numbers(np.concatenate(streams))
        return {"sizes": encode_numbers(np.array(self._sizes, np.int64)), "ranges": ranges}

    def _number_of_flags(self, member: Flags) -> int:
        key = np.packbits(member).tobytes()
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._sizes)
            self._sizes.append(int(np.count_nonzero(member)))
            ranges = _ranges(member)
            self._total += len(ranges)
            self._ranges.append(ranges)
        return number


def _ranges(member: Flags) -> Numbers:
    """Return how many are not in the set and then how many are, alternately, up to the last one that is."""
    lengths, values = runs_of(member.astype(np.int64))
    if len(values) and values[0]:
        lengths, values = np.concatenate(([0], lengths)), np.concatenate(([0], values))
    if len(values) and not values[-1]:
        lengths = lengths[:-1]
    return lengths
