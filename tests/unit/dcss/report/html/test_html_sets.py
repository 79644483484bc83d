"""Sets of guests are written once, with their members where these fit."""

from typing import Any

import numpy as np
from report_support import decoded, decoded_sets

from dcss.report.html import sets as html_sets
from dcss.report.html.sets import GuestSets


def test_each_page_has_the_set_of_the_guests_that_use_it() -> None:
    random = np.random.default_rng(3)
    names = [f"G{number:02d}" for number in range(20)]
    used = {name: random.random(300) < 0.4 for name in names[:18]}
    used["G18"] = used["G03"].copy()  # the same pages in another array
    sets = GuestSets(names)
    numbers = sets.numbers_of_pages(used, 300)
    found = decoded_sets(sets.encoded())
    for page, number in enumerate(numbers):
        assert found[number] == {names.index(name) for name, pages in used.items() if pages[page]}


def test_the_empty_set_is_number_zero_and_equal_sets_are_one() -> None:
    sets = GuestSets(["A", "B"])
    assert sets.number_of(()) == 0
    assert sets.number_of(("B", "A")) == sets.number_of(("A", "B"))
    assert sets.number_of(("A", "unknown")) == sets.number_of(("A",))
    assert decoded(str(sets.encoded()["sizes"])) == [0, 2, 1]


def test_too_many_combinations_leave_the_sizes(monkeypatch: Any) -> None:
    monkeypatch.setattr(html_sets, "_MOST_RANGES", 3)
    sets = GuestSets(["A", "B", "C"])
    for guests in (("A",), ("B",), ("A", "C")):
        sets.number_of(guests)
    assert sets.encoded()["ranges"] is None
    assert decoded(str(sets.encoded()["sizes"])) == [0, 1, 1, 2]
