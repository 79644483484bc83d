"""Work that a signal may not cut in two: creating what must be recorded, and taking everything down."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C and its like for the end of the block, in the main thread; elsewhere no handler runs anyway.

    Handlers are replaced rather than signals blocked: with other threads in the process, a library's for instance,
    the kernel would hand a blocked signal to one of them, and Python would run its handler in the main thread all the
    same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    before = {int(number): signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number in _SIGNALS if callable(before[number])]
    try:
        for number in handled:
            signal.signal(number, lambda *arguments: caught.append(arguments))
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
    for caught_number, frame in caught:
        handler = before[caught_number]
        if callable(handler):
            handler(caught_number, frame)
