"""JSON documents have the names and types of docs/commands.md, and null where nothing could be seen."""

import json
import os
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

import pytest
from results_support import made_up_run

from dcss.documents import columns_of, from_document, row_of, to_document, to_json
from dcss.fleet.results import FleetHost, FleetResult, FleetTotals
from dcss.report.csv_rows import print_csv
from dcss.results import (
    GuestStatus,
    MeasureResult,
    Result,
    RunResult,
    SegmentStatus,
    SystemStatus,
    Totals,
    VerifyResult,
)
from dcss.schemas.shapes import GuestLook, SegmentFile

Shape = Any  # a type, a tuple of types, {name: shape}, or [shape]

VERIFY: Shape = {
    "system": str,
    "verdict": str,
    "evidence": str,
    "claims": [{"claim": str, "applies": bool, "holds": (bool, type(None)), "detail": str}],
    "files": [
        {
            "segment": str,
            "path": str,
            "pages": int,
            "checked_pages": int,
            "guests": [str],
            "distinct_frames": (int, type(None)),
            "shared": bool,
        }
    ],
}
INT_OR_NULL = (int, type(None))
MEASURE: Shape = {
    "system": str,
    "guests": [
        {
            "name": str,
            "engine": str,
            "pids": [int],
            "storage_bytes": int,
            "guest": {"xip_bytes": INT_OR_NULL, "page_cache_bytes": int, "buffer_bytes": int, "anonymous_bytes": int},
            "host": dict.fromkeys(("rss_bytes", "pss_bytes", "uss_bytes", "page_table_bytes"), INT_OR_NULL),
        }
    ],
    "segments": [
        {"name": str, "shm": str, "bytes": int, "resident_bytes": int, "unused_bytes": INT_OR_NULL, "guests": int}
    ],
    "totals": dict.fromkeys(("with_sharing_bytes", "without_sharing_bytes", "saved_bytes"), INT_OR_NULL),
}
RUN: Shape = {
    "verify": VERIFY,
    "measure": MEASURE,
    "guests": [{"name": str, "exit_status": int, "seconds": float}],
}


def check(value: object, shape: Shape, where: str = "") -> None:
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for name, inner in shape.items():
            assert name in value, f"{where}.{name}"
            check(value[name], inner, f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        assert value, f"{where} is empty: nothing is tested"
        for item in value:
            check(item, shape[0], where + "[]")
    else:
        assert isinstance(value, shape), f"{where} is {value!r}"


def test_documents_have_the_fixed_names_and_types() -> None:
    run = made_up_run()
    check(json.loads(to_json(to_document(run))), RUN)
    check(json.loads(to_json(to_document(run.verify))), VERIFY)
    check(json.loads(to_json(to_document(run.measure))), MEASURE)


def test_what_could_not_be_seen_is_null() -> None:
    run = made_up_run(frames=False)
    run = replace(run, measure=replace(run.measure, totals=Totals(None, None, None)))
    document = json.loads(to_json(to_document(run)))
    check(document, RUN)
    assert document["verify"]["files"][0]["distinct_frames"] is None
    assert document["verify"]["claims"][2]["holds"] is None
    assert document["measure"]["guests"][0]["host"]["uss_bytes"] is None
    assert document["measure"]["totals"] == {
        "with_sharing_bytes": None,
        "without_sharing_bytes": None,
        "saved_bytes": None,
    }


def test_a_file_name_in_any_bytes_comes_back() -> None:
    name = b"/usr/lib/\xff\xe9\n.so"
    verify = made_up_run().verify
    verify = replace(verify, files=(replace(verify.files[0], path=os.fsdecode(name)),))
    text = to_json(to_document(verify))
    assert text.isascii()
    assert os.fsencode(json.loads(text)["files"][0]["path"]) == name


STATUS = SystemStatus(
    system="demo",
    state="up",
    pid=5,
    since="2026-05-03T10:00:00Z",
    config="/demo.yaml",
    log="/run/cp.log",
    guests=(
        GuestStatus("A", "process", "ready", "2026-05-03T10:00:01Z", 7, ("LIB", "APP"), 0, None, None, "/run/A.log"),
        GuestStatus("B", "process", "killed", "2026-05-03T10:00:02Z", None, (), 1, -9, "", "/run/B.log"),
    ),
    segments=(SegmentStatus("LIB", 1, "A", "/dcss.demo.LIB.1", 4096, 2),),
)


def test_results_survive_json() -> None:
    for frames in (True, False):
        run = made_up_run(frames=frames)
        assert from_document(RunResult, json.loads(to_json(to_document(run)))) == run
        assert from_document(VerifyResult, json.loads(to_json(to_document(run.verify)))) == run.verify
        assert from_document(MeasureResult, json.loads(to_json(to_document(run.measure)))) == run.measure
    assert from_document(SystemStatus, json.loads(to_json(to_document(STATUS)))) == STATUS


def test_the_status_has_the_names_of_ps() -> None:
    document = to_document(STATUS)
    assert list(document) == ["system", "state", "pid", "since", "config", "log", "guests", "segments"]
    assert document["segments"] == [
        {"name": "LIB", "file": 1, "class": "A", "shm": "/dcss.demo.LIB.1", "bytes": 4096, "guests": 2}
    ]
    assert document["guests"][1]["segments"] == []


def test_fields_of_a_newer_version_are_ignored_and_missing_ones_named() -> None:
    document = to_document(STATUS)
    assert from_document(SystemStatus, document | {"newer": 1}) == STATUS
    del document["guests"][1]["engine"]
    with pytest.raises(ValueError, match=r"SystemStatus\.guests\[1\]\.engine: found nothing, wanted a value"):
        from_document(SystemStatus, document)
    with pytest.raises(ValueError, match=r"SystemStatus\.pid: found '5', wanted int"):
        from_document(SystemStatus, to_document(STATUS) | {"pid": "5"})


def csv_of(result: Result, table: str) -> list[str]:
    stream = StringIO()
    print_csv(result.rows(table), result.columns(table), stream)
    return stream.getvalue().splitlines()


def test_rows_have_the_columns_of_their_table_and_a_table_without_rows_has_its_names() -> None:
    run = made_up_run()
    tables: list[tuple[MeasureResult | VerifyResult | RunResult, str]] = [
        *((run.measure, each) for each in ("guests", "segments", "others")),
        *((run.verify, each) for each in ("claims", "files")),
        (run, "guests"),
    ]
    for result, table in tables:
        rows, names = result.rows(table), result.columns(table)
        assert all(tuple(row) == names for row in rows)
        assert csv_of(result, table)[0] == ",".join(names)
        empty = replace(result, **{table: ()})  # type: ignore[arg-type] # of a name that is known here only
        assert csv_of(empty, table) == [",".join(names)]
    assert "uss_bytes" in run.measure.columns()
    assert "host" not in run.measure.columns()


def test_a_fleet_without_hosts_that_answer_has_the_names_of_what_was_asked_for() -> None:
    run, host = made_up_run(), FleetHost("a", "demo", False, None, None)
    asked = FleetResult("demo", (host,))
    assert [line[:12] for line in csv_of(asked, "hosts")] == ["host,system,", "a,demo,false"]
    assert csv_of(asked, "claims") == ["host,claim,holds,detail,applies"]
    assert csv_of(asked, "guests")[0].startswith("host,name,engine,state,")
    measured = replace(asked, totals=FleetTotals(0, None, None, None))
    assert csv_of(measured, "guests") == [",".join(["host", *run.measure.columns("guests")])]
    answered = replace(measured, hosts=(replace(host, document=run.measure.to_document()),))
    assert all(tuple(row) == answered.columns("guests") for row in answered.rows("guests"))


@dataclass(frozen=True)
class Inner:
    one: int
    other: str | None


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner | None
    numbers: tuple[int, ...]
    inners: tuple[Inner, ...]


def test_what_is_not_known_of_an_object_within_a_row_leaves_its_columns_empty() -> None:
    names = ("name", "one", "other", "numbers", "inners")
    assert columns_of(Outer) == names
    known, unknown = Outer("a", Inner(1, "b"), (2,), (Inner(3, None),)), Outer("c", None, (), ())
    assert row_of(known) == {"name": "a", "one": 1, "other": "b", "numbers": [2], "inners": [{"one": 3, "other": None}]}
    assert row_of(unknown) == {"name": "c", "one": None, "other": None, "numbers": [], "inners": []}
    assert tuple(row_of(known)) == tuple(row_of(unknown)) == names


def test_names_of_objects_that_no_data_class_stands_for_are_those_that_each_has() -> None:
    names = columns_of(SegmentFile)
    assert names[:5] == ("file", "name", "filetype", "class", "ranges")
    assert "content" not in names
    assert columns_of(GuestLook)[-1] == "private_bytes"
