"""Medians, quartiles, ratios of samples taken in turn, and the exponent of a power law."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple, Self


class Spread(NamedTuple):
    """The median of some samples, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """Return the spread of at least one sample."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, low, high)

    @property
    def relative(self) -> float:
        """The distance of the quartiles, as a share of the median."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide samples round by round; where one side has fewer, its median stands for the missing ones.

    Samples of one round were taken within seconds of each other, so what slowed one down slowed the other down too.
    A denominator of zero leaves its round out.
    """
    if not ours or not theirs:
        return []
    rounds = max(len(ours), len(theirs))
    fill_ours, fill_theirs = statistics.median(ours), statistics.median(theirs)
    pairs = (
        (ours[i] if i < len(ours) else fill_ours, theirs[i] if i < len(theirs) else fill_theirs) for i in range(rounds)
    )
    return [mine / other for mine, other in pairs if other]


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """Fit y = c * x**e by least squares in log-log and return e; None where fewer than two points are above zero."""
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    return statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope


def upper_range(sizes: Sequence[float], at_least: int = 3) -> list[float]:
    """Return the sizes of the upper range: the upper decade, or the largest `at_least` where it has fewer."""
    ordered = sorted(sizes)
    decade = [size for size in ordered if size >= ordered[-1] / 10]
    return decade if len(decade) >= at_least else ordered[-at_least:]
