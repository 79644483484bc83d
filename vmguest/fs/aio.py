"""Asynchronous reads and writes (aio_read and aio_write of file_operations, as XIP had them until Linux 2.6.12).

In place there is nothing to wait for: a request is done by copying, when its turn comes. Which one's turn comes is for
the caller to say, so that whatever relies on an order can be tried in every other one.
"""

from collections.abc import Callable, Generator, Sequence
from errno import EINVAL

from dcss.errors import KernelError
from vmguest.fs.open import FileDescription

Order = Callable[[Sequence["AioRequest"]], "AioRequest"]
"""Picks which of the waiting requests, in order of submission, is done next."""


class AioRequest:
    """One read or write (struct kiocb), which can be awaited; `result` is the bytes moved once it is `done`."""

    __slots__ = ("_buffer", "_context", "_file", "_position", "done", "error", "result", "writes")

    def __init__(
        self, context: "AioContext", file: FileDescription, position: int, buffer: memoryview, *, writes: bool
    ) -> None:
        self._context = context
        self._file = file.hold()
        self._position = position
        self._buffer = buffer
        self.writes = writes
        self.done = False
        self.result = 0
        self.error: KernelError | None = None

    def __await__(self) -> Generator[None, None, int]:
        """Do requests in the context's order until this one is done; return how many bytes it moved."""
        while not self.done:
            self._context.complete(1)
            yield
        if self.error is not None:
            raise self.error
        return self.result

    def perform(self) -> None:
        """Copy; whatever the file says is the result."""
        try:
            move = self._file.pwrite if self.writes else self._file.pread
            self.result = move(self._buffer, self._position)
        except KernelError as error:
            self.error = error
        finally:
            self.done = True
            self._file.close()


class AioContext:
    """Requests that wait (struct kioctx), done in the order that `order` picks; by default that of submission."""

    def __init__(self, order: Order | None = None) -> None:
        self._order = order
        self._waiting: list[AioRequest] = []

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def read(self, file: FileDescription, position: int, buffer: memoryview) -> AioRequest:
        """Submit a read (aio_read). Raises KernelError(EINVAL) for a position below 0."""
        return self._submit(file, position, buffer, writes=False)

    def write(self, file: FileDescription, position: int, data: bytes | memoryview) -> AioRequest:
        """Submit a write (aio_write). Raises KernelError(EINVAL) for a position below 0."""
        return self._submit(file, position, memoryview(data), writes=True)

    def complete(self, count: int | None = None) -> list[AioRequest]:
        """Do waiting requests, all or so many; return them in the order in which they were done (io_getevents)."""
        done: list[AioRequest] = []
        while self._waiting and (count is None or len(done) < count):
            request = self._waiting[0] if self._order is None else self._order(tuple(self._waiting))
            self._waiting.remove(request)
            request.perform()
            done.append(request)
        return done

    def _submit(self, file: FileDescription, position: int, buffer: memoryview, *, writes: bool) -> AioRequest:
        if position < 0:
            raise KernelError(EINVAL, f"request at position {position}: wanted no negative number")
        request = AioRequest(self, file, position, buffer, writes=writes)
        self._waiting.append(request)
        return request
