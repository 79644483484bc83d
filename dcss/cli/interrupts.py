"""Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread, once, so that clean-up is not cut short."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEAF_SECONDS = 10.0  # for so long clean-up goes on undisturbed; a clean-up that hangs can then be interrupted


class SignalledError(KeyboardInterrupt):
    """Signal `number` came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Raise SignalledError where one of the signals comes; those that are ignored (nohup, a shell's `&`) stay so."""
    deaf_until = 0.0

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal deaf_until
        now = time.monotonic()
        if now >= deaf_until:
            deaf_until = now + _DEAF_SECONDS
            raise SignalledError(number)

    before = {number: signal.getsignal(number) for number in _NUMBERS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
