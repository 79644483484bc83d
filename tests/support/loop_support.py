"""Tests that are coroutines."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

LIMIT_SECONDS = 60.0  # of a whole test: what takes longer hangs


def in_event_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own; it fails by what a callback or a task raises, too."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        faults: list[BaseException] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(_error_of(context)))
            async with asyncio.timeout(LIMIT_SECONDS):
                await test(*arguments, **named)

        asyncio.run(main())
        if faults:
            raise faults[0]

    return run


async def settle() -> None:
    """Let all that goes on in this loop alone come to where it waits; how long a busy machine takes is no matter."""
    for _ in range(100):
        await asyncio.sleep(0)


def _error_of(context: dict[str, Any]) -> BaseException:
    error = context.get("exception")
    return error if isinstance(error, BaseException) else RuntimeError(context["message"])
