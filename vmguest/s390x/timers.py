"""What is to be done at a time, by the monotonic clock in seconds."""

import heapq
from collections.abc import Callable
from itertools import count
from time import monotonic


class Timer:
    """A call that is due. `cancel` has it not be made."""

    __slots__ = ("call", "due")

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due = due
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not make the call."""
        self.call = None


class Timers:
    """The timers of one guest."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, due: float, call: Callable[[], None]) -> Timer:
        """Have `call` made at `due`, or soon after that."""
        timer = Timer(due, call)
        heapq.heappush(self._heap, (due, next(self._order), timer))
        return timer

    @property
    def next_due(self) -> float | None:
        """When the first one is due."""
        while self._heap and self._heap[0][2].call is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def fire(self, failed: Callable[[Exception], None]) -> None:
        """Make the calls that are due now; those that they ask for are made the next time, though due already.

        What a call raises is `failed`'s, and the others are made.
        """
        now, timers = monotonic(), []
        while self._heap and self._heap[0][0] <= now:
            timers.append(heapq.heappop(self._heap)[2])
        for timer in timers:
            call, timer.call = timer.call, None
            if call is None:
                continue
            try:
                call()
            except Exception as error:  # of this one alone
                failed(error)
