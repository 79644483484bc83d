"""CP's steps as a coroutine: its state changes in the event loop, and what only copies runs in a thread."""

import asyncio
from collections import deque
from collections.abc import Callable

from dcss.cp.steps import Answer, Steps
from dcss.errors import LaunchError, SpoolError
from dcss.host.aio import in_thread

_AGAIN_SECONDS = 0.02  # until it is asked again whose turn it is
_waiting: deque[object] = deque()  # whoever waits for another's end, in the order in which they came


async def run_steps(steps: Steps[Answer], *, on_cancel: Callable[[], None] = lambda: None) -> Answer:
    """Do all the steps and return their answer.

    If this is cancelled, the work under way is waited for, which `on_cancel` may cut short, and given up.
    """
    error: BaseException | None = None
    ticket = object()
    try:
        while True:
            work = next(steps) if error is None else steps.throw(error)
            error = None
            if work is None:
                await _wait_turn(ticket)
                continue
            _leave(ticket)
            try:
                await in_thread(work, on_cancel=on_cancel)
            except asyncio.CancelledError:
                raise
            except LaunchError as caught:
                error = SpoolError(f"nothing was copied: {caught}")
            except Exception as caught:
                error = caught
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    finally:
        _leave(ticket)
        steps.close()


async def _wait_turn(ticket: object) -> None:
    if ticket not in _waiting:
        _waiting.append(ticket)
    while True:
        await asyncio.sleep(_AGAIN_SECONDS)
        if _waiting[0] is ticket:
            return


def _leave(ticket: object) -> None:
    if ticket in _waiting:
        _waiting.remove(ticket)
