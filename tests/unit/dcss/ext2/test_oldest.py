"""Eviction in the order in which entries came, in time that does not depend on the size of the cache."""

import sys

from dcss.ext2.oldest import drop_oldest


def test_the_oldest_sixteenth_goes() -> None:
    cache = dict.fromkeys(range(32))
    assert drop_oldest(cache) == [(0, None), (1, None)]
    assert list(cache) == list(range(2, 32))


def test_at_least_one_goes() -> None:
    cache = {"only": 1}
    assert drop_oldest(cache) == [("only", 1)]
    assert not cache


def test_few_calls_make_room_for_many_entries() -> None:
    slots = inserted = 1 << 12
    cache = dict.fromkeys(range(slots))
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for number in range(slots, slots + inserted):
            if len(cache) >= slots:
                drop_oldest(cache)
            cache[number] = None
    finally:
        sys.setprofile(None)
    assert len(cache) <= slots
    assert calls <= 32
