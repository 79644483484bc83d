"""One event loop in one thread: descriptors that become ready, and what is to be done later."""

import heapq
import selectors
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Protocol

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

Action = Callable[[], None]


class Source(Protocol):
    """What can be watched: anything with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor, negative once closed."""


class Timer:
    """Something to be done at an instant of the monotonic clock, unless it is cancelled before."""

    __slots__ = ("action", "at_seconds")

    def __init__(self, at_seconds: float, action: Action) -> None:
        self.at_seconds = at_seconds
        self.action: Action | None = action

    def cancel(self) -> None:
        """Do nothing when the time comes. May be called twice, and after it came."""
        self.action = None


class Loop:
    """Calls what was given to `watch` and `after`. What an action raises ends the turn and goes to its caller."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()

    def watch(self, source: Source, ready: Action, events: int = READ) -> None:
        """Call `ready` whenever `source` is; a second call replaces what the first one said."""
        if self._is_watched(source):
            self._selector.modify(source.fileno(), events, ready)
        else:
            self._selector.register(source.fileno(), events, ready)

    def forget(self, source: Source) -> None:
        """Stop watching, before the descriptor is closed. Nothing happens where it is not watched."""
        if self._is_watched(source):
            self._selector.unregister(source.fileno())

    def after(self, seconds: float, action: Action) -> Timer:
        """Call `action` once, `seconds` from now."""
        timer = Timer(monotonic() + seconds, action)
        heapq.heappush(self._timers, (timer.at_seconds, next(self._order), timer))
        return timer

    def turn(self, timeout_seconds: float | None) -> None:
        """Wait until something is to be done, `timeout_seconds` at most, and do it."""
        watched = self._selector.get_map()
        for key, _ in self._selector.select(self._wait_seconds(timeout_seconds)):
            # What was called before it in this turn may have closed it, and given its number to something else.
            if watched.get(key.fd) is key:
                key.data()
        now = monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            action, timer.action = timer.action, None
            if action is not None:
                action()

    def close(self) -> None:
        """Watch nothing any more."""
        self._selector.close()
        self._timers.clear()

    def _is_watched(self, source: Source) -> bool:
        return source.fileno() >= 0 and source.fileno() in self._selector.get_map()

    def _wait_seconds(self, timeout_seconds: float | None) -> float | None:
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return timeout_seconds
        due = max(0.0, self._timers[0][0] - monotonic())
        return due if timeout_seconds is None else min(due, timeout_seconds)
