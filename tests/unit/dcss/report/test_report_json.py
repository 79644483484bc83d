"""JSON documents have the names and types that DESIGN.md fixes, and null where nothing could be seen."""

import json
import os
from dataclasses import replace
from typing import Any

from made_up_results import made_up_run

from dcss.report.jsonform import measure_form, run_form, to_json, verify_form
from dcss.results import Totals

Shape = Any  # a type, a tuple of types, {name: shape}, or [shape]

VERIFY: Shape = {
    "system": str,
    "verdict": str,
    "evidence": str,
    "claims": [{"claim": str, "holds": (bool, type(None)), "detail": str}],
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
    "segments": [{"name": str, "shm": str, "bytes": int, "resident_bytes": int, "guests": int}],
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
    check(json.loads(to_json(run_form(run))), RUN)
    check(json.loads(to_json(verify_form(run.verify))), VERIFY)
    check(json.loads(to_json(measure_form(run.measure))), MEASURE)


def test_what_could_not_be_seen_is_null() -> None:
    run = made_up_run(frames=False)
    run = replace(run, measure=replace(run.measure, totals=Totals(None, None, None)))
    document = json.loads(to_json(run_form(run)))
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
    text = to_json(verify_form(verify))
    assert text.isascii()
    assert os.fsencode(json.loads(text)["files"][0]["path"]) == name
