"""What sharing saves, for any guests and any pages."""

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Flags
from dcss.account.totals import SharingSum
from dcss.results import Totals

PAGES = 40
RESIDENT = (16 * PAGE_SIZE, 24 * PAGE_SIZE)
guests = st.lists(st.sets(st.integers(0, PAGES - 1)), max_size=8)


def flags(pages: set[int]) -> Flags:
    mapped = np.zeros(PAGES, np.bool_)
    mapped[list(pages)] = True
    return mapped


def shared(maps: list[set[int]]) -> SharingSum:
    """Return the sum over guests that load both segments, of 16 and of 24 pages."""
    total = SharingSum((16, 24))
    for pages in maps:
        total.add(flags(pages), (0, 1))
    return total


def totals(maps: list[set[int]]) -> Totals:
    return shared(maps).totals(RESIDENT)


@given(guests.filter(bool))
def test_totals_are_sum_residents_and_difference(maps: list[set[int]]) -> None:
    found = totals(maps)
    assert found.without_sharing_bytes == sum(map(len, maps)) * PAGE_SIZE
    assert found.with_sharing_bytes == PAGES * PAGE_SIZE
    assert found.saved_bytes == found.without_sharing_bytes - found.with_sharing_bytes


@given(guests)
def test_used_is_what_any_guest_maps(maps: list[set[int]]) -> None:
    used = set().union(*maps)
    first = len(used & set(range(16)))
    assert shared(maps).used_bytes() == [first * PAGE_SIZE, (len(used) - first) * PAGE_SIZE]


@given(guests, st.randoms(use_true_random=False))
def test_order_of_guests_does_not_matter(maps: list[set[int]], random: Random) -> None:
    shuffled = list(maps)
    random.shuffle(shuffled)
    assert totals(shuffled) == totals(maps)


@given(guests.filter(bool), st.sets(st.integers(0, PAGES - 1)))
def test_one_more_guest_saves_what_it_maps(maps: list[set[int]], pages: set[int]) -> None:
    before, after = totals(maps), totals([*maps, pages])
    assert before.saved_bytes is not None
    assert after.saved_bytes is not None
    assert after.saved_bytes - before.saved_bytes == len(pages) * PAGE_SIZE


def test_a_segment_that_no_sharing_guest_loads_is_not_counted() -> None:
    total = SharingSum((16, 24))
    total.add(flags({1, 2, 3}), (0,))
    total.note_use(flags({20}))
    assert total.totals(RESIDENT) == Totals(16 * PAGE_SIZE, 3 * PAGE_SIZE, -13 * PAGE_SIZE)
    assert total.used_bytes() == [3 * PAGE_SIZE, PAGE_SIZE]


def test_no_guests() -> None:
    assert totals([]) == Totals(0, 0, 0)
