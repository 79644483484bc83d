"""Where the start of a system goes: seconds of each stage for each guest, and events for Perfetto.

What a guest says of its start is its own word. CP adds when it asked for the guest, and when that was ready.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dcss.abi.timings import Span
from dcss.errors import LaunchError
from dcss.results import GuestTimings, RunTimings, StageSeconds
from dcss.system.instance import GuestInstance
from dcss.system.state import SystemState

_NS = 1_000_000_000
_CP = 0  # its track


class Interval(NamedTuple):
    """Something that CP or an engine did, by the monotonic clock, in seconds."""

    name: str
    begin: float
    end: float


class _Started(NamedTuple):
    """A guest that was started, and since when it could be."""

    guest: GuestInstance
    begin: float

    @property
    def end(self) -> float:
        """When it was ready, or said why it failed."""
        return self.guest.started_at + self.guest.seconds


class Timeline:
    """A system's start. `intervals` are what CP did."""

    def __init__(self, system: SystemState, intervals: Sequence[Interval]) -> None:
        self._name = system.plan.name
        self._intervals = tuple(intervals)
        self._preparations = [
            Interval(f"engine {engine.name}", *engine.preparation)
            for engine in system.engines.values()
            if engine.preparation is not None
        ]
        prepared = max((engine.end for engine in self._preparations), default=0.0)
        # A guest that waits for the interpreter begins when that is there.
        self._guests = [
            _Started(guest, max(guest.started_at, prepared))
            for guest in system.guests.values()
            if guest.verdict is not None
        ]

    def summary(self) -> RunTimings:
        """Return how long each stage took for each guest that was ready or said why it failed."""
        publish = next(interval for interval in self._intervals if interval.name == "publish")
        return RunTimings(
            publish.end - publish.begin,
            max((engine.end - engine.begin for engine in self._preparations), default=None),
            tuple(map(_of_guest, self._guests)),
        )

    def write_trace(self, path: Path) -> None:
        """Write Chrome trace events: a track for CP, one for each engine's preparation, and one for each guest.

        Raises LaunchError where the file cannot be written.
        """
        document = {"displayTimeUnit": "ms", "traceEvents": list(self._events())}
        try:
            path.write_text(json.dumps(document), encoding="ascii")
        except OSError as error:
            raise LaunchError(f"--timings: {path} cannot be written: {error.strerror}") from error

    def _events(self) -> Iterator[dict[str, Any]]:
        yield _metadata("process_name", _CP, f"system {self._name}")
        yield from _track(_CP, "CP", (_event(_CP, *interval) for interval in self._intervals))
        for track, engine in enumerate(self._preparations, _CP + 1):
            yield from _track(track, engine.name, [_event(track, "interpreter", engine.begin, engine.end)])
        for track, started in enumerate(self._guests, _CP + 1 + len(self._preparations)):
            yield from _track(track, started.guest.name, _events_of(track, started))


def _of_guest(started: _Started) -> GuestTimings:
    guest, begin = started
    spans = _spans(guest)
    seconds = {stage: nanoseconds / _NS for stage, nanoseconds in _own_ns(spans).items()}
    fork = max(spans[0].begin_ns / _NS - begin, 0.0) if spans else 0.0
    other = max(started.end - begin - fork - sum(seconds.values()), 0.0)
    stages = StageSeconds(fork=fork, other=other, **seconds)
    return GuestTimings(guest.name, guest.outcome().boot, started.end - begin, stages)


def _own_ns(spans: Iterable[Span]) -> Mapping[str, int]:
    """Return how long each stage took without what lies in it, given spans by their begin."""
    own: Counter[str] = Counter()
    around: list[Span] = []
    for span in spans:
        while around and around[-1].end_ns <= span.begin_ns:
            around.pop()
        if around:
            own[around[-1].stage] -= span.end_ns - span.begin_ns
        own[span.stage] += span.end_ns - span.begin_ns
        around.append(span)
    return own


def _spans(guest: GuestInstance) -> list[Span]:
    """Return a guest's spans, by their begin, and what lies in another one behind that."""
    spans = () if guest.running is None else guest.running.spans
    return sorted(spans, key=lambda span: (span.begin_ns, -span.end_ns))


def _events_of(track: int, started: _Started) -> Iterator[dict[str, Any]]:
    spans = _spans(started.guest)
    if spans:
        yield _event(track, "fork", started.begin, spans[0].begin_ns / _NS)
    for stage, begin_ns, end_ns in spans:
        yield _event(track, stage, begin_ns / _NS, end_ns / _NS)
    yield {"name": "ready", "ph": "i", "s": "t", "pid": 1, "tid": track, "ts": started.end * 1e6}


def _track(track: int, name: str, events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield _metadata("thread_name", track, name)
    yield {"name": "thread_sort_index", "ph": "M", "pid": 1, "tid": track, "args": {"sort_index": track}}
    yield from events


def _metadata(kind: str, track: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": track, "args": {"name": name}}


def _event(track: int, name: str, begin: float, end: float) -> dict[str, Any]:
    duration = max(end - begin, 0.0)
    return {"name": name, "ph": "X", "pid": 1, "tid": track, "ts": begin * 1e6, "dur": duration * 1e6}
