"""Numbers of pages that are handed out and taken back."""

import random

from vmguest.storage import HUGE_PAGE_PAGES, PageRuns


def test_the_lowest_run_that_is_long_enough() -> None:
    runs = PageRuns(10, 100)
    assert [runs.allocate(pages) for pages in (5, 20, 70)] == [10, 15, 35]
    runs.release(10, 5)
    assert [runs.allocate(6), runs.allocate(5), runs.allocate(5), runs.allocate(1)] == [None, 10, 105, None]


def test_from_a_page_on() -> None:
    runs = PageRuns(0, 100)
    assert [runs.allocate(10, from_page=45), runs.allocate(10, from_page=45), runs.allocate(10)] == [45, 55, 0]
    assert runs.allocate(36, from_page=45) is None


def test_with_the_place_in_a_huge_page_that_another_page_has() -> None:
    runs = PageRuns(3, 4 * HUGE_PAGE_PAGES)
    assert runs.allocate(10, congruent_to=7 + 9 * HUGE_PAGE_PAGES) == 7
    assert runs.allocate(10, congruent_to=-1) == HUGE_PAGE_PAGES - 1
    assert runs.allocate(10, from_page=2 * HUGE_PAGE_PAGES, congruent_to=0) == 2 * HUGE_PAGE_PAGES
    assert runs.allocate(2 * HUGE_PAGE_PAGES, congruent_to=0) is None


def test_what_is_taken_and_released_in_any_order_is_as_in_a_set_of_pages() -> None:
    chance = random.Random(13)
    runs, free = PageRuns(5, 200), set(range(5, 205))
    held: list[tuple[int, int]] = []
    for _ in range(2000):
        if held and chance.random() < 0.5:
            first, pages = held.pop(chance.randrange(len(held)))
            runs.release(first, pages)
            free.update(range(first, first + pages))
        else:
            first, pages = chance.randrange(0, 210), chance.randint(1, 30)
            wanted = set(range(first, first + pages))
            assert runs.take(first, pages) is (wanted <= free)
            if wanted <= free:
                free -= wanted
                held.append((first, pages))
        assert runs.free_pages == len(free)
