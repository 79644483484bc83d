"""Wait for what is about to be so: with a limit that no busy machine reaches, for no test asserts an absolute time."""

import time
from collections.abc import Callable

LIMIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.01


def wait_until(
    is_so: Callable[[], object], found: Callable[[], object] | None = None, *, seconds: float = LIMIT_SECONDS
) -> None:
    """Wait until a condition holds; fail, with what was found instead, when it does not in a long time."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, found() if found else "it did not come to be so"
        time.sleep(_PAUSE_SECONDS)
