"""Requests to a running CP, each on a connection of its own, which another thread may cut."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from dcss.rpc.client import Client, Speaker
from dcss.rpc.protocol import Arguments, Output


class Cuttable(Protocol):
    """What a thread waits for, and what another one can end."""

    def cut(self) -> None:
        """Have the wait end soon, in whatever way."""


class Cutter:
    """Ends what a thread waits for within a block of `followed`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited: Cuttable | None = None
        self._is_cut = False

    def cut(self) -> None:
        """End what is waited for, and what will be."""
        with self._lock:
            self._is_cut = True
            if self._waited is not None:
                self._waited.cut()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Take note of what this thread waits for in the block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def wait_for(self, waited: Cuttable | None) -> None:
        """Note what is waited for from now on, or cut it at once."""
        with self._lock:
            self._waited = waited
            if self._is_cut and waited is not None:
                waited.cut()


_current: ContextVar[Cutter | None] = ContextVar("cutter", default=None)


@contextmanager
def may_be_cut(waited: Cuttable) -> Iterator[None]:
    """Let the Cutter that follows this thread, if one does, cut `waited` in this block."""
    cutter = _current.get()
    if cutter is None:
        yield
        return
    cutter.wait_for(waited)
    try:
        yield
    finally:
        cutter.wait_for(None)


def ask(
    system: str,
    request: str,
    *,
    timeout_seconds: float | None = None,
    on_output: Callable[[Output], None] | None = None,
    speaker: Speaker | None = None,
    **arguments: Any,
) -> Arguments:
    """Make one request to a system and return the result, as `Client.ask` does."""
    with Client(system) as client, may_be_cut(client):
        return client.ask(request, timeout_seconds=timeout_seconds, on_output=on_output, speaker=speaker, **arguments)
