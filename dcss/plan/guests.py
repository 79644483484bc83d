"""Deal a number of guests to the consumers that they stand for."""

from collections.abc import Sequence


def deal(guests: int, weights: Sequence[int]) -> list[int]:
    """Return how many of `guests` each consumer gets, in proportion to its weight.

    What is left over goes, one each, to those with the largest remainders, the first ones where these are equal (the
    method of largest remainders).
    """
    total = sum(weights)
    counts = [guests * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda number: (-(guests * weights[number] % total), number))
    for number in order[: guests - sum(counts)]:
        counts[number] += 1
    return counts
