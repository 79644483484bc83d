"""What sharing saves, for any guests and any pages."""

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Flags
from dcss.account.totals import totals_of
from dcss.results import Totals

PAGES = 40
guests = st.lists(st.sets(st.integers(0, PAGES - 1)), max_size=8)


def flags(pages: set[int]) -> Flags:
    mapped = np.zeros(PAGES, np.bool_)
    mapped[list(pages)] = True
    return mapped


def totals(maps: list[set[int]]) -> Totals:
    return totals_of(flags(pages) for pages in maps)


@given(guests)
def test_totals_are_sum_union_and_difference(maps: list[set[int]]) -> None:
    found = totals(maps)
    assert found.without_sharing_bytes == sum(map(len, maps)) * PAGE_SIZE
    assert found.with_sharing_bytes == len(set().union(*maps)) * PAGE_SIZE
    assert found.saved_bytes == found.without_sharing_bytes - found.with_sharing_bytes
    assert 0 <= found.saved_bytes <= found.without_sharing_bytes


@given(guests, st.randoms(use_true_random=False))
def test_order_of_guests_does_not_matter(maps: list[set[int]], random: Random) -> None:
    shuffled = list(maps)
    random.shuffle(shuffled)
    assert totals(shuffled) == totals(maps)


@given(st.sets(st.integers(0, PAGES - 1)))
def test_one_guest_saves_nothing(pages: set[int]) -> None:
    assert totals([pages]).saved_bytes == 0


@given(guests, st.sets(st.integers(0, PAGES - 1)))
def test_one_more_guest_never_saves_less(maps: list[set[int]], pages: set[int]) -> None:
    before, after = totals(maps), totals([*maps, pages])
    assert before.saved_bytes is not None
    assert after.saved_bytes is not None
    gained = after.saved_bytes - before.saved_bytes
    assert gained == len(pages & set().union(*maps)) * PAGE_SIZE


@given(st.sets(st.integers(0, PAGES - 1)), st.integers(1, 8))
def test_equal_guests_pay_once(pages: set[int], count: int) -> None:
    found = totals([pages] * count)
    assert found.with_sharing_bytes == len(pages) * PAGE_SIZE
    assert found.saved_bytes == (count - 1) * len(pages) * PAGE_SIZE


def test_no_guests() -> None:
    assert totals([]) == Totals(0, 0, 0)
