"""Measure where a guest's start goes, for a host that asks. Other guests run none of this."""

from array import array
from collections.abc import Callable
from functools import partial
from socket import MSG_NOSIGNAL, socket
from time import monotonic_ns
from typing import TypeVar

from dcss.abi.console import TIMINGS
from dcss.abi.timings import MAX_SPANS, Span, Stage, pack_spans
from vmguest import hostmem

Result = TypeVar("Result")
Send = Callable[[bytes, int], object]
MapPacked = Callable[["array[int]"], None]


class Stopwatch:
    """Notes the spans of a start, and tells the host at the console."""

    def __init__(self, console: socket) -> None:
        self._console = console
        self._spans: list[Span] = []
        hostmem.note_present(partial(self.note, "populate"))

    def note(self, stage: Stage, begin_ns: int) -> None:
        """Note that a stage that began then has ended."""
        self._spans.append(Span(stage, begin_ns, monotonic_ns()))
        if len(self._spans) == MAX_SPANS:
            self.tell()

    def run(self, stage: Stage, function: Callable[[], Result]) -> Result:
        """Call a function that is a stage, and return what it returns."""
        begin_ns = monotonic_ns()
        try:
            return function()
        finally:
            self.note(stage, begin_ns)

    def tell(self) -> None:
        """Tell the host the spans that it has not been told."""
        if self._spans:
            self._console.send(TIMINGS + pack_spans(self._spans), MSG_NOSIGNAL)
            self._spans = []

    def in_clone(self, send: Send, map_packed: MapPacked) -> tuple[Send, MapPacked]:
        """Return these two functions for a clone of the guest, measured: its hypercalls, then its mappings.

        What was noted before is the first guest's. The host is told when the mappings are made.
        """
        begins_ns: list[int] = []

        def send_measured(packet: bytes, flags: int) -> object:
            if not begins_ns:
                self._spans = []
                begins_ns.append(monotonic_ns())
            return send(packet, flags)

        def map_measured(packed: "array[int]") -> None:
            for begin_ns in begins_ns:
                self.note("hypercalls", begin_ns)
            self.run("map", partial(map_packed, packed))
            self.tell()

        return send_measured, map_measured
