"""The choice of files within a budget, against all choices there are; and how guests are dealt to kinds."""

from collections.abc import Sequence
from itertools import combinations
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from dcss.plan import knapsack
from dcss.plan.guests import deal
from dcss.plan.knapsack import Filling, Item, fill

# Small numbers, so that choices differ by little and the densest files are often not the best ones.
_items = st.lists(st.builds(Item, st.integers(1, 9), st.integers(1, 9)), max_size=9)


def _best(items: Sequence[Item], capacity_pages: int) -> int:
    choices = (chosen for count in range(len(items) + 1) for chosen in combinations(items, count))
    fitting = (chosen for chosen in choices if sum(item.pages for item in chosen) <= capacity_pages)
    return max(sum(item.worth for item in chosen) for chosen in fitting)


def _check_fits(filling: Filling, items: Sequence[Item], capacity_pages: int) -> None:
    assert len(set(filling.chosen)) == len(filling.chosen)
    assert sum(items[number].pages for number in filling.chosen) <= capacity_pages
    assert sum(items[number].worth for number in filling.chosen) == filling.worth


@settings(max_examples=500)
@given(_items, st.integers(0, 30))
def test_no_choice_of_files_saves_more(items: list[Item], capacity_pages: int) -> None:
    filling = fill(items, capacity_pages)
    _check_fits(filling, items, capacity_pages)
    assert filling.exact
    assert filling.worth == filling.bound == _best(items, capacity_pages)


@settings(max_examples=500)
@given(_items, st.integers(0, 30), st.integers(1, 200))
def test_a_choice_in_larger_units_fits_and_says_what_the_best_one_could_be(
    items: list[Item], capacity_pages: int, most_cells: int
) -> None:
    with patch.object(knapsack, "MOST_CELLS", most_cells):
        filling = fill(items, capacity_pages)
    _check_fits(filling, items, capacity_pages)
    best = _best(items, capacity_pages)
    assert filling.worth <= best <= filling.bound
    assert not filling.exact or filling.worth == best


def test_the_densest_files_alone_would_save_half() -> None:
    items = [Item(1, 2), Item(100, 100)]
    assert fill(items, 100).chosen == (1,)


@given(st.integers(1, 5000), st.lists(st.integers(1, 50), min_size=1, max_size=12))
def test_guests_are_dealt_in_proportion(guests: int, weights: list[int]) -> None:
    counts = deal(guests, weights)
    assert sum(counts) == guests
    total = sum(weights)
    assert all(abs(count - guests * weight / total) < 1 for count, weight in zip(counts, weights, strict=True))
