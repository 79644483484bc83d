"""Long work in CP's one thread, with its clients served in between."""

import threading
from collections.abc import Callable
from time import monotonic

from dcss.progress import Progress, Unit

_SERVE_SECONDS = 0.02


class ServingProgress:
    """Passes everything on to `progress`, and now and then calls `serve` where the work goes on in its own thread."""

    def __init__(self, progress: Progress, serve: Callable[[], None]) -> None:
        self._progress, self._serve = progress, serve
        self._thread = threading.get_ident()
        self._served = monotonic()

    def phase(self, name: str, total: int | None = None, unit: Unit | None = None) -> None:
        """Begin a phase."""
        self._progress.phase(name, total, unit)

    def advance(self, amount: int = 1) -> None:
        """Pass it on, and serve if the last time is long enough ago."""
        self._progress.advance(amount)
        # An image is written by two threads; the other one has no business in CP's loop.
        if threading.get_ident() == self._thread and monotonic() - self._served >= _SERVE_SECONDS:
            self._serve()
            self._served = monotonic()

    def warn(self, text: str) -> None:
        """Pass it on."""
        self._progress.warn(text)

    def close(self) -> None:
        """Pass it on."""
        self._progress.close()
