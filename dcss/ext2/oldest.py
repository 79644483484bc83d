"""Make room in a cache that is a dict, in the order in which entries came."""

from itertools import islice
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_SHARE = 16


def drop_oldest(cache: dict[Key, Value]) -> list[tuple[Key, Value]]:
    """Remove the oldest sixteenth of the entries of a cache, at least one, and return them.

    One at a time would be slow in a large cache: a dict keeps the places of keys that were removed, and walks over
    all of them to its first key.
    """
    oldest = list(islice(cache.items(), max(1, len(cache) // _SHARE)))
    for key, _ in oldest:
        del cache[key]
    return oldest
