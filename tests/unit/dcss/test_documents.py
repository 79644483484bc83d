"""JSON documents have the names and types of docs/commands.md, and null where nothing could be seen."""

import json
import os
from dataclasses import replace
from typing import Any

import pytest
from results_support import made_up_run

from dcss.documents import from_document, to_document, to_json
from dcss.results import GuestStatus, MeasureResult, RunResult, SegmentStatus, SystemStatus, Totals, VerifyResult

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
