"""Measure subjects in turn, round by round, so that what slows the machine down meets all of them."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from benchmarks.framework.results import Growth, Row, RowSpec

Sample = Mapping[str | tuple[str, str], float]  # by the name of a row, or by (subject, row) for another subject's row
Subject = Callable[[], Sample]


class Unavailable(Exception):  # noqa: N818 - no error: a subject that this machine cannot run, and why
    """A subject cannot be measured here; the message says why."""


def compare(
    benchmark: str,
    specs: Sequence[RowSpec],
    subjects: Mapping[str, Subject],
    *,
    rounds: int,
    warm_up: bool = True,
    once: Container[str] = (),
    ours: str = "dcss",
) -> list[Row]:
    """Measure all subjects `rounds` times in turn, and return a row for each spec.

    The first round is discarded where `warm_up` is set: memory that the machine never used before is slow to get. A
    subject that raises Unavailable is not asked again, and its reason stands in every row that lacks it. Those named
    by `once` are measured in the last round only.
    """
    samples: dict[str, dict[str, list[float]]] = {spec.name: {} for spec in specs}
    unavailable: dict[str, str] = {}
    names = list(subjects)
    for number in range(rounds + warm_up):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            if name in unavailable or (name in once and number < rounds + warm_up - 1):
                continue
            try:
                sample = subjects[name]()
            except Unavailable as reason:
                unavailable[name] = str(reason)
                continue
            if number >= warm_up:
                for key, value in sample.items():
                    subject, row = (name, key) if isinstance(key, str) else key
                    samples[row].setdefault(subject, []).append(value)
    names = list(dict.fromkeys([*names, *(name for each in samples.values() for name in each)]))
    return [_row(spec, samples[spec.name], names, unavailable, benchmark=benchmark, ours=ours) for spec in specs]


def _row(
    spec: RowSpec,
    samples: Mapping[str, Sequence[float]],
    names: Sequence[str],
    unavailable: Mapping[str, str],
    *,
    benchmark: str,
    ours: str,
) -> Row:
    return Row(
        **vars(spec),
        benchmark=benchmark,
        ours=ours,
        samples={name: tuple(samples[name]) for name in names if name in samples},
        skipped={name: unavailable[name] for name in names if name in unavailable and name not in samples},
    )


def grow(
    benchmark: str,
    rows: Sequence[Growth],
    sizes: Sequence[int],
    measure: Callable[[int], Mapping[str, float]],
    *,
    rounds: int,
    warm_up: bool = True,
) -> list[Growth]:
    """Measure at every size, round by round, and return the rows with their points.

    The first round is discarded where `warm_up` is set.
    A size that is unavailable ends the larger ones, and the row says why.
    """
    samples: dict[str, dict[int, list[float]]] = {row.name: {size: [] for size in sizes} for row in rows}
    reason, left = "", list(sizes)
    for number in range(rounds + warm_up):
        for size in left:
            try:
                sample = measure(size)
            except Unavailable as error:
                reason, left = f"{size:,} and more: {error}", left[: left.index(size)]
                break
            if number >= warm_up:
                for name, value in sample.items():
                    samples[name][size].append(value)
    return [
        replace(
            row,
            benchmark=benchmark,
            skipped=reason,
            points=tuple((float(size), tuple(found)) for size, found in samples[row.name].items() if found),
        )
        for row in rows
    ]
