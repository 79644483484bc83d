"""Fill a budget with the files that save most: the 0/1 knapsack problem.

A file goes in whole or not at all, and its worth is known before: that is the 0/1 knapsack, without precedence or
quantities. Dynamic programming over the size in pages solves it exactly in items times pages steps, each of which numpy
does for all sizes at once. A list by worth per byte alone can miss half of what is possible. Where items times pages
are more than `MOST_CELLS`, sizes are counted in units of several pages, rounded up, so that the choice fits; the list
by worth per byte is tried too, and the better one is taken. `bound` says what no choice can exceed: the best one that
may cut one file.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

MOST_CELLS: Final = 1 << 28  # a bit each: 32 MiB, and about a second


class Item(NamedTuple):
    """Something that may go in: how many pages it takes, and what it is worth. Both are above 0."""

    pages: int
    worth: int


class Filling(NamedTuple):
    """What goes in, by number of item in ascending order; `exact` says that no choice is worth more."""

    chosen: tuple[int, ...]
    worth: int
    exact: bool
    bound: int


def fill(items: Sequence[Item], capacity_pages: int) -> Filling:
    """Return the choice of items that is worth most among those that fit into `capacity_pages` together."""
    fitting = [number for number, item in enumerate(items) if item.pages <= capacity_pages]
    needed_pages = sum(items[number].pages for number in fitting)
    if needed_pages <= capacity_pages:
        worth = sum(items[number].worth for number in fitting)
        return Filling(tuple(fitting), worth, exact=True, bound=worth)
    by_density = sorted(fitting, key=lambda number: (-items[number].worth / items[number].pages, items[number].pages))
    greedy, bound = _by_density(items, by_density, capacity_pages)
    unit_pages = max(1, -(-len(fitting) * (capacity_pages + 1) // MOST_CELLS))
    solved = [
        fitting[place]
        for place in _solve([items[number] for number in fitting], capacity_pages // unit_pages, unit_pages)
    ]
    chosen = max(greedy, solved, key=lambda numbers: sum(items[number].worth for number in numbers))
    worth = sum(items[number].worth for number in chosen)
    exact = unit_pages == 1 or worth == bound
    return Filling(tuple(sorted(chosen)), worth, exact, worth if exact else bound)


def _by_density(items: Sequence[Item], order: Sequence[int], capacity_pages: int) -> tuple[list[int], int]:
    """Return what fits when the densest goes in first, and what the best choice that may cut an item is worth."""
    chosen: list[int] = []
    left_pages, bound, cut = capacity_pages, 0, False
    for number in order:
        pages, worth = items[number]
        if pages <= left_pages:
            chosen.append(number)
            left_pages -= pages
            bound += 0 if cut else worth
        elif not cut:
            bound += worth * left_pages // pages
            cut = True
    return chosen, bound


def _solve(items: Sequence[Item], capacity: int, unit_pages: int) -> list[int]:
    """Return the numbers of the best choice, with sizes in units of `unit_pages`, rounded up."""
    best = np.zeros(capacity + 1, np.int64)
    taken: list[npt.NDArray[np.uint8]] = []
    sizes = [-(-item.pages // unit_pages) for item in items]
    for size, item in zip(sizes, items, strict=True):
        better = np.zeros(capacity + 1, np.bool_)
        if size <= capacity:
            with_item = best[: capacity + 1 - size] + item.worth
            better[size:] = with_item > best[size:]
            best[size:] = np.maximum(with_item, best[size:])
        taken.append(np.packbits(better))
    chosen: list[int] = []
    left = capacity
    for number in reversed(range(len(items))):
        if taken[number][left >> 3] >> (7 - (left & 7)) & 1:
            chosen.append(number)
            left -= sizes[number]
    return chosen
