"""The guest's end of its hypercall socket: it can keep what goes through it, and be given answers again."""

import socket
from collections.abc import Callable, Sequence
from time import monotonic_ns
from typing import NamedTuple

from dcss.abi.hypercall import Reply, Request, call


class Call(NamedTuple):
    """One hypercall, and CP's answer."""

    request: Request
    reply: Reply


class Port:
    """Issues hypercalls on a socket. Until `stop_recording`, each is kept with its answer in `calls`."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.calls: list[Call] = []
        self._given: list[Call] = []  # the next one last
        self._recording = True
        self._note: Callable[[int], None] | None = None

    def give(self, calls: Sequence[Call]) -> None:
        """Answer the next requests, which must be those of `calls`, from there: CP has answered them."""
        self._given = list(reversed(calls))

    def stop_recording(self) -> None:
        """Keep no more hypercalls, and forget those that were kept."""
        self._recording = False
        self.calls = []

    def note_calls(self, note: Callable[[int], None]) -> None:
        """Have `note` called after each hypercall with when it began, by the monotonic clock in nanoseconds."""
        self._note = note

    def call(self, request: Request) -> Reply:
        """Issue one hypercall and wait for its answer. Raises ConnectionError where CP is gone."""
        begin_ns = 0 if self._note is None else monotonic_ns()
        reply = self._take_given(request) if self._given else call(self.socket, request)
        if self._note is not None:
            self._note(begin_ns)
        if self._recording:
            self.calls.append(Call(request, reply))
        return reply

    def _take_given(self, request: Request) -> Reply:
        given = self._given.pop()
        if given.request != request:
            raise RuntimeError(f"this boot asks CP for {request}; the one that it repeats asked for {given.request}")
        return given.reply
