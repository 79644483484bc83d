"""Cut short what runs in a worker thread: its loops call `check_cancelled` for each part."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Current(threading.local):
    """The flag of the work that this thread does; outside of such work, one that nobody sets."""

    def __init__(self) -> None:
        self.flag = threading.Event()


_current = _Current()


@contextmanager
def cancelled_by(flag: threading.Event) -> Iterator[None]:
    """Have `check_cancelled` raise in this thread, until the block ends, once `flag` is set."""
    before, _current.flag = _current.flag, flag
    try:
        yield
    finally:
        _current.flag = before


def check_cancelled() -> None:
    """Raise CancelledError if whoever waits for the work of this thread was cancelled."""
    if _current.flag.is_set():
        from asyncio import CancelledError  # not imported by programs that cancel nothing, which is faster

        raise CancelledError
