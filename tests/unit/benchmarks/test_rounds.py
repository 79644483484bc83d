"""Rounds in turn: who is measured when, what is discarded, and what becomes of what cannot be measured."""

from collections.abc import Callable

import pytest

from benchmarks.framework.results import Growth, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare, grow

SPECS = [RowSpec("time", "s", "time", "all")]


def recorder(calls: list[str], name: str) -> Callable[[], Sample]:
    """Return a subject that notes each call, and whose sample is how many there were."""

    def measure() -> Sample:
        calls.append(name)
        return {"time": float(calls.count(name))}

    return measure


def refused() -> Sample:
    raise Unavailable("needs root")


def test_subjects_take_turns_and_each_begins_a_round() -> None:
    calls: list[str] = []
    compare("made-up", SPECS, {name: recorder(calls, name) for name in "abc"}, rounds=2)
    assert "".join(calls) == "abcbcacab"


def test_the_first_round_is_discarded() -> None:
    (row,) = compare("made-up", SPECS, {"dcss": recorder([], "dcss")}, rounds=2)
    assert row.samples == {"dcss": (2.0, 3.0)}


def test_what_is_unavailable_is_asked_once_and_its_reason_stays() -> None:
    calls: list[str] = []
    (row,) = compare("made-up", SPECS, {"dcss": recorder(calls, "dcss"), "loop": refused}, rounds=2)
    assert row.skipped == {"loop": "needs root"}
    assert "loop" not in row.samples


def test_a_subject_that_fails_ends_the_run() -> None:
    def broken() -> Sample:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        compare("made-up", SPECS, {"dcss": broken}, rounds=1)


def test_once_is_the_last_round() -> None:
    calls: list[str] = []
    subjects = {"dcss": recorder(calls, "dcss"), "slow": recorder(calls, "slow")}
    (row,) = compare("made-up", SPECS, subjects, rounds=3, once={"slow"})
    assert calls.count("slow") == 1
    assert row.samples["slow"] == (1.0,)


def test_a_subject_can_measure_another_in_the_same_go() -> None:
    (row,) = compare("made-up", SPECS, {"dcss": lambda: {"time": 1.0, ("books", "time"): 0.5}}, rounds=1)
    assert row.samples == {"dcss": (1.0,), "books": (0.5,)}


def test_sizes_that_are_unavailable_end_the_larger_ones() -> None:
    def measure(size: int) -> dict[str, float]:
        if size > 10:
            raise Unavailable("needs more memory")
        return {"time": float(size)}

    rows = [Growth("", "time", "s", "time", "files", "all")]
    (grown,) = grow("made-up", rows, [1, 10, 100, 1000], measure, rounds=2)
    assert grown.points == ((1.0, (1.0, 1.0)), (10.0, (10.0, 10.0)))
    assert grown.skipped == "100 and more: needs more memory"
