"""Hold signals back while something is created that must be recorded, or while everything is taken down."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Answer = TypeVar("Answer")


@contextmanager
def interrupts_held(on_first: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Delay SIGINT, SIGTERM and SIGHUP to the end of the block, in the main thread: no other runs handlers.

    `on_first` is called when the first one comes. Handlers are replaced rather than signals blocked: with other threads
    in the process, a library's for instance, the kernel would hand a blocked signal to one of them, and Python would
    run its handler in the main thread all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        caught.append((number, frame))
        if len(caught) == 1:
            on_first()

    before = {int(number): signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number in _SIGNALS if callable(before[number])]
    try:
        for number in handled:
            signal.signal(number, hold)
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
    for caught_number, frame in caught:
        handler = before[caught_number]
        if callable(handler):
            handler(caught_number, frame)


class _EventLoop(asyncio.SelectorEventLoop):
    """An event loop that ends without another thread: where there is none, the error that says so must be seen."""

    async def shutdown_default_executor(self, *timeout: float | None) -> None:
        """Wait for the worker threads, if there can be a thread to wait in; they are idle anyway."""
        with suppress(RuntimeError):
            await super().shutdown_default_executor(*timeout)


def run_interruptible(main: Coroutine[Any, Any, Answer], on_interrupt: Callable[[], None] = lambda: None) -> Answer:
    """Run `main` in an event loop of its own and return its result.

    The first signal cancels it; the signal's own handler is called when all clean-up is done, whatever comes meanwhile.
    A handler that raised at once would do so in the middle of a task, which then could not wait for its threads.
    `on_interrupt` is called in the event loop when `main` is cancelled.
    """
    task: asyncio.Task[Answer] | None = None
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        if task is not None:
            task.get_loop().call_soon_threadsafe(cut_short, task)

    def cut_short(task: asyncio.Task[Answer]) -> None:
        task.cancel()
        on_interrupt()

    with interrupts_held(interrupt), asyncio.Runner(loop_factory=_EventLoop) as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        if interrupted:
            cut_short(task)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if not interrupted:
                raise
    raise KeyboardInterrupt  # the signal's handler, called at the end of the block, has not raised anything
