"""Raise KeyboardInterrupt on Ctrl-C, SIGTERM and SIGHUP, but only once, so that clean-up can finish."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NOTICE_SECONDS = 0.5  # a signal that comes just before a sleep begins does not cut it short
_IGNORE_SECONDS = 10.0  # how long clean-up is left alone; after that one that hangs can be interrupted


class SignalledError(KeyboardInterrupt):
    """The signal `number` arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def sleep(seconds: float) -> None:
    """Sleep, and be interrupted soon by a signal, whenever it comes: Python acts on one only between two calls."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _NOTICE_SECONDS))


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Raise SignalledError when one of the signals arrives; ignored signals (nohup, a shell's `&`) stay ignored."""
    ignored_until = 0.0

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal ignored_until
        now = time.monotonic()
        if now >= ignored_until:
            ignored_until = now + _IGNORE_SECONDS
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
