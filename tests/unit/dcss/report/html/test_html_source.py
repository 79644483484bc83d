"""A report takes what run, verify and measure print, and says what else it was given."""

import json
from pathlib import Path
from typing import Any

import pytest
from results_support import made_up_run

from dcss.documents import to_document
from dcss.errors import ConfigError
from dcss.report.html.source import read_source, source_of


def test_the_document_of_a_run_has_everything() -> None:
    source = source_of(to_document(made_up_run()), "x")
    assert source.verify is not None
    assert source.measure is not None
    assert source.run is not None
    assert source.system == "demo"


@pytest.mark.parametrize("part", ["verify", "measure"])
def test_each_part_alone_is_enough(part: str) -> None:
    source = source_of(to_document(made_up_run())[part], "x")
    assert (source.verify is None, source.measure is None, source.run) == (part != "verify", part != "measure", None)
    assert source.system == "demo"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "found list, wanted an object"),
        ({}, "found an object with no field"),
        ({"systems": []}, "found an object with systems, wanted what dcss run, verify, measure or inspect print"),
        ({"error": {"lines": ["demo.yaml: no"], "exit_status": 2}}, "command that failed (demo.yaml: no)"),
        ({"claims": []}, "VerifyResult.system: found nothing"),
        ({"verify": 5}, "found 5, wanted VerifyResult"),
    ],
)
def test_anything_else_is_named(document: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as raised:
        read_source(str(path))
    assert str(raised.value).startswith(f"{path}: ")
    assert said in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"VERIFIED", b"\xff{}", b'{"claims": ['])
def test_a_file_without_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ConfigError, match="found no JSON document"):
        read_source(str(tmp_path / "r.json"))


def test_a_name_that_is_not_utf8_comes_through(tmp_path: Path) -> None:
    document = to_document(made_up_run())
    document["verify"]["files"][0]["path"] = "/usr/\udcff.so"
    (tmp_path / "r.json").write_text(json.dumps(document))
    source = read_source(str(tmp_path / "r.json"))
    assert source.verify is not None
    assert source.verify.files[0].path == "/usr/\udcff.so"
