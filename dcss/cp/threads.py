"""Copies and syncs, done in a thread beside CP's event loop."""

from collections.abc import Callable
from typing import TypeVar

from dcss.errors import SpoolError
from dcss.host import aio

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result], then: Callable[[Result], object] | None = None) -> Result:
    """Run `work` in a thread and return its result. It must not touch CP's state, which belongs to the event loop.

    If the caller is cancelled, CancelledError is raised after `work` has ended, so that the caller can undo it. `then`
    is called with the result in the event loop, also if the caller is cancelled. Raises SpoolError if no thread can be
    started.
    """
    results: list[Result] = []
    try:
        await aio.in_thread(lambda: results.append(work()))
    except aio.NoThreadError as error:
        raise SpoolError(f"nothing was copied: {error}") from error
    finally:
        if results and then is not None:
            then(results[0])
    return results[0]
