"""Where a start goes: stages add up to the whole, and events are in the places that Perfetto expects."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from system_support import guest, system_plan

from dcss.abi.console import Start, Verdict
from dcss.abi.timings import Span
from dcss.engines.base import Instance
from dcss.errors import LaunchError
from dcss.report.layout import render_page
from dcss.report.style import Style
from dcss.report.timings_view import timing_blocks
from dcss.results import GuestTimings, RunTimings, StageSeconds
from dcss.system.instance import GuestInstance
from dcss.system.state import SystemState
from dcss.system.timings import Interval, Timeline

MS = 1_000_000
PUBLISH = Interval("publish", 1.0, 1.5)
PREPARED = 2.0  # seconds; when the engine was ready
FULL = (
    Span("hypercalls", 2012 * MS, 2014 * MS),  # told as they ended: what lies in another comes before that
    Span("kernel", 2010 * MS, 2020 * MS),
    Span("mount", 2020 * MS, 2023 * MS),
    Span("populate", 2030 * MS, 2035 * MS),
    Span("populate", 2036 * MS, 2042 * MS),
    Span("map", 2025 * MS, 2050 * MS),
)
CLONE = (Span("hypercalls", 2070 * MS, 2072 * MS), Span("map", 2072 * MS, 2080 * MS))


def started(name: str, begin: float, end: float, spans: tuple[Span, ...], *, cloned: bool) -> GuestInstance:
    running = SimpleNamespace(spans=spans, boot=Start(cloned), access=(), no_counters_reason=None)
    return GuestInstance(
        guest(name),
        Path("/nowhere"),
        started_at=begin,
        running=cast("Instance", running),
        verdict=Verdict(0, 0.1, 0, 0, 0),
        seconds=end - begin,
    )


@pytest.fixture
def timeline(tmp_path: Path) -> Timeline:
    guests = {
        "G1": started("G1", 1.9, 2.06, FULL, cloned=False),
        "G2": started("G2", 2.01, 2.09, CLONE, cloned=True),
        "G3": GuestInstance(guest("G3"), Path("/nowhere")),  # never started
    }
    engines = {"process": SimpleNamespace(name="process", preparation=(1.2, PREPARED))}
    system = SimpleNamespace(plan=system_plan(tmp_path), guests=guests, engines=engines)
    return Timeline(cast("SystemState", system), [PUBLISH, Interval("start guests", 1.5, 2.1)])


def seconds_of(stages: StageSeconds) -> dict[str, float]:
    return {name: getattr(stages, name) for name in stages.__dataclass_fields__ if getattr(stages, name)}


def test_each_second_counts_in_one_stage(timeline: Timeline) -> None:
    summary = timeline.summary()
    assert (summary.publish_seconds, summary.interpreter_seconds) == (0.5, pytest.approx(0.8))
    full, clone = summary.guests
    assert (full.name, full.boot, full.seconds) == ("G1", "full", pytest.approx(0.06))  # it waited for the engine
    assert seconds_of(full.stages) == pytest.approx(
        {
            "fork": 0.01,
            "hypercalls": 0.002,
            "kernel": 0.008,
            "mount": 0.003,
            "map": 0.014,
            "populate": 0.011,
            "other": 0.012,
        }
    )
    assert (clone.name, clone.boot) == ("G2", "clone")
    assert seconds_of(clone.stages) == pytest.approx({"fork": 0.06, "hypercalls": 0.002, "map": 0.008, "other": 0.01})
    for each in summary.guests:
        assert sum(seconds_of(each.stages).values()) == pytest.approx(each.seconds)


def events_of(timeline: Timeline, path: Path) -> list[dict[str, Any]]:
    timeline.write_trace(path)
    events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    return events


def test_a_trace_has_a_track_for_cp_one_for_the_engine_and_one_for_each_guest(
    timeline: Timeline, tmp_path: Path
) -> None:
    events = events_of(timeline, tmp_path / "trace.json")
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert list(names.values()) == ["CP", "engine process", "G1", "G2"]
    spans = [(names[event["tid"]], event["name"]) for event in events if event["ph"] == "X"]
    assert spans[:4] == [("CP", "publish"), ("CP", "start guests"), ("engine process", "interpreter"), ("G1", "fork")]
    assert [stage for track, stage in spans if track == "G2"] == ["fork", "hypercalls", "map"]
    (hypercalls,) = (event for event in events if event["name"] == "hypercalls" and names[event["tid"]] == "G1")
    assert (hypercalls["ts"], hypercalls["dur"]) == (pytest.approx(2_012_000), pytest.approx(2_000))  # microseconds


def test_events_of_one_track_lie_beside_or_in_each_other(timeline: Timeline, tmp_path: Path) -> None:
    tracks: dict[int, list[tuple[float, float]]] = {}
    for event in events_of(timeline, tmp_path / "trace.json"):
        if event["ph"] == "X":
            tracks.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    for spans in tracks.values():
        around: list[float] = []
        for begin, end in spans:
            while around and around[-1] <= begin + 1e-3:
                around.pop()
            assert not around or end <= around[-1] + 1e-3
            around.append(end)


def test_a_trace_that_cannot_be_written_is_an_error_that_names_it(timeline: Timeline, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=f"--timings: {tmp_path} cannot be written: Is a directory"):
        timeline.write_trace(tmp_path)


def page(count: int) -> list[str]:
    guests = [GuestTimings("G0001", "full", 0.1, StageSeconds(fork=0.05, map=0.05))]
    for number in range(1, count):
        stages = StageSeconds(fork=12.345 + number, read=0.5, other=0.25)
        guests.append(GuestTimings(f"G{number + 1:04}", "clone", 13.095 + number, stages))
    timings = RunTimings(0.25, None, tuple(guests))
    return render_page((timing_blocks(timings, show_all=False),), Style(width=80)).splitlines()


def test_few_guests_have_a_row_each_and_of_many_the_median_and_the_slowest_are_shown() -> None:
    few = page(3)
    assert [line.split()[0] for line in few[:4]] == ["START", "G0001", "G0002", "G0003"]
    assert few[2].split() == ["G0002", "clone", "13345.0", "0.0", "0.0", "0.0", "0.0", "0.0", "750.0", "14095.0"]
    many = page(1000)
    assert many[1].split()[:4] == ["999", "guests", "clone", "512345.0"]
    assert many[2].split()[:2] == ["G1000", "clone"]
    assert many[3].split()[:3] == ["G0001", "full", "50.0"]
    assert not many[4].startswith("G")


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    guests = tuple(GuestTimings(f"LINUX{n:03}", "clone", 9.9999, StageSeconds(9.9, 0.0999)) for n in range(3))
    lines = render_page((timing_blocks(RunTimings(1.0, 0.5, guests), show_all=True),), Style(width=80)).splitlines()
    assert max(map(len, lines)) <= 80
