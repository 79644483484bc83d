"""Keep progress moving while a worker thread works: the event loop passes on what it did, and that time goes by."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dcss.host.aio import cancel
from dcss.progress import Progress

_MOVE_SECONDS = 0.1


class ThreadProgress:
    """Passes what a worker thread has done on to the event loop's thread, where progress is shown."""

    def __init__(self, progress: Progress) -> None:
        self._loop, self._progress = asyncio.get_running_loop(), progress

    def advance(self, amount: int = 1) -> None:
        """Pass it on."""
        self._loop.call_soon_threadsafe(self._progress.advance, amount)


@asynccontextmanager
async def moving(progress: Progress) -> AsyncIterator[None]:
    """Have the current phase drawn again and again until the block ends, also where nothing can be counted."""
    task = asyncio.ensure_future(_move(progress))
    try:
        yield
    finally:
        await cancel(task)


async def _move(progress: Progress) -> None:
    while True:
        await asyncio.sleep(_MOVE_SECONDS)
        progress.advance(0)
