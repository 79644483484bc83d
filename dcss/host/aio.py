"""What asyncio leaves to its users: sockets that carry descriptors, work in threads, and tasks that end together."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

from dcss.errors import DcssError, LaunchError
from dcss.host.cancellation import cancelled_by

Answer = TypeVar("Answer")

_WORKERS = 8


class NoThreadError(LaunchError):
    """No thread can be started."""


async def wait_readable(file: socket.socket | int) -> None:
    """Wait until a socket or descriptor can be read; asyncio itself knows no recvmsg."""
    loop = asyncio.get_running_loop()
    # Given a socket, asyncio formats its repr each time.
    ready, descriptor = loop.create_future(), file if isinstance(file, int) else file.fileno()
    loop.add_reader(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


class PacketReader(AbstractContextManager["PacketReader"]):
    """Receives the packets of a socket that does not block, one at a time.

    The event loop is told of the socket once, where asyncio's own `sock_recv` tells it for each packet. One packet is
    taken before anybody waits for it; what comes behind it stays in the socket.
    """

    def __init__(self, sock: socket.socket, max_bytes: int) -> None:
        self._socket, self._max_bytes = sock, max_bytes
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[bytes] = self._loop.create_future()
        self._reading = False

    def __exit__(self, *_: object) -> None:
        self._pause()
        if self._next.done() and not self._next.cancelled():
            self._next.exception()  # nobody waits for it any more

    async def receive(self) -> bytes:
        """Wait for the next packet; it is empty where no more come. Raises OSError."""
        if not self._reading and not self._next.done():
            self._loop.add_reader(self._socket.fileno(), self._read)
            self._reading = True
        try:
            return await self._next
        finally:
            self._next = self._loop.create_future()

    def _read(self) -> None:
        if self._next.done():  # the loop would come back at once, again and again
            self._pause()
            return
        try:
            self._next.set_result(self._socket.recv(self._max_bytes))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._next.set_exception(error)

    def _pause(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._socket.fileno())
            self._reading = False


async def wait_writable(sock: socket.socket) -> None:
    """Wait until `sock` takes something."""
    loop = asyncio.get_running_loop()
    ready, descriptor = loop.create_future(), sock.fileno()
    loop.add_writer(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def start_workers(loop: asyncio.AbstractEventLoop) -> None:
    """Start all worker threads of `loop` now: later, others may have taken every process that this user may have.

    Raises NoThreadError.
    """
    workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="dcss:worker")
    together = threading.Barrier(_WORKERS)  # a worker that is free would be given the next one's call
    try:
        for _ in range(_WORKERS):
            workers.submit(together.wait)
    except RuntimeError as error:
        together.abort()
        workers.shutdown(cancel_futures=True)
        raise _no_thread(error) from error
    loop.set_default_executor(workers)


async def in_thread(
    function: Callable[..., Answer],
    *arguments: Any,
    on_cancel: Callable[[], None] = lambda: None,
    executor: Executor | None = None,
) -> Answer:
    """Call a function in a worker thread, of `executor` or else the event loop's, and return what it returns.

    If this is cancelled, `check_cancelled` raises in the thread, which cuts the function short, and `on_cancel` is
    called. The thread is waited for: whoever cancels may close what the function works on. Raises NoThreadError.
    """
    started = True
    flag = threading.Event()

    def call() -> Answer:
        if not started:  # the executor keeps what it had no thread for, and might come back to it
            raise asyncio.CancelledError
        with cancelled_by(flag):
            return function(*arguments)

    try:
        future = asyncio.get_running_loop().run_in_executor(executor, call)
    except RuntimeError as error:
        started = False
        raise _no_thread(error) from error
    cancelled: asyncio.CancelledError | None = None
    while not future.done():  # whoever cancels may do it more than once, as the end of an event loop does
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
            flag.set()
            on_cancel()
    if cancelled is not None:
        future.exception()
        raise cancelled
    return future.result()


def _no_thread(error: RuntimeError) -> NoThreadError:
    return NoThreadError(f"{error}; more processes are needed, see ulimit -u and pids.max")


def start_task(coroutine: Coroutine[Any, Any, Answer], name: str) -> asyncio.Task[Answer]:
    """Start a task. If it fails, its error goes to the event loop's exception handler at once."""
    task = asyncio.create_task(coroutine, name=name)
    task.add_done_callback(_raise_failure)
    return task


def _raise_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.result()


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait for their end, whatever it is."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def uninterrupted(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a coroutine to its end; a cancellation takes effect when it has ended."""
    task = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    answer = task.result()
    if cancelled is not None:
        raise cancelled
    return answer


class TaskSet:
    """Tasks that end together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, Answer], name: str) -> asyncio.Task[Answer]:
        """Start a task of the set as `start_task` does."""
        return self._add(start_task(coroutine, name))

    async def finish(self, coroutine: Coroutine[Any, Any, Answer], name: str) -> Answer:
        """Run a coroutine to its end as a task of the set, even if this is cancelled; return or raise what it does."""
        task = self._add(asyncio.create_task(coroutine, name=name))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_raise_fault)  # nobody else sees it
            raise

    async def close(self) -> None:
        """Cancel all tasks and wait for their end."""
        await cancel(*self._tasks)

    def _add(self, task: asyncio.Task[Answer]) -> asyncio.Task[Answer]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _raise_fault(task: asyncio.Task[Any]) -> None:
    """Raise what a task failed by, unless it is an error that only concerns whoever asked for its work."""
    with suppress(DcssError, OSError, asyncio.CancelledError):
        task.result()
