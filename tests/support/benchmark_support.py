"""Rows, growths and runs of benchmarks with made-up samples."""

from collections.abc import Mapping, Sequence

from benchmarks.framework.results import Growth, Kind, Results, Row


def row(
    name: str = "ready", *, kind: Kind = "time", skipped: Mapping[str, str] | None = None, **samples: Sequence[float]
) -> Row:
    """Return a row of the benchmark `made-up`; `dcss` is ours."""
    found = {subject: tuple(each) for subject, each in samples.items()}
    return Row(name, "s", kind, "all", benchmark="made-up", samples=found, skipped=skipped or {})


def growth(points: Mapping[int, float], *, skipped: str = "", most: float = 1.2) -> Growth:
    """Return a growth of the benchmark `made-up` with one sample at each size."""
    found = tuple((float(size), (value,)) for size, value in points.items())
    return Growth("made-up", "time", "s", "time", "files", "all", points=found, skipped=skipped, most=most)


def run_of(*rows: Row, growths: Sequence[Growth] = ()) -> Results:
    """Return a run of the benchmark `made-up`."""
    return Results("quick", {"cores": "2"}, rows, tuple(growths), {"made-up": 1.0})
