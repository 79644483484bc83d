"""`dcss report` writes one file, of a running system or of what a command printed, and an older one stays on errors."""

import json
from pathlib import Path

import pytest
from cli_support import Dcss
from needs_support import needs


def report(dcss: Dcss, name: str = "report.html") -> Path:
    return dcss.home / name


def test_a_running_system_is_proved_and_measured(dcss: Dcss) -> None:
    temporary = dcss.home / "temporary"
    temporary.mkdir()
    dcss.own(temporary)
    dcss.environment["TMPDIR"] = str(temporary)
    dcss("up", dcss.guests(3), "-d")
    document = dcss.json("report", "-o", report(dcss))
    page = report(dcss).read_text()
    assert (document["system"], document["verdict"]) == (dcss.system, "verified")
    assert document["bytes"] == report(dcss).stat().st_size
    assert "verified" in page
    assert '"name":["G01","G02","G03"]' in page
    dcss("report", dcss.system, "--output", report(dcss))  # in place of the older one
    dcss("down")
    dcss.assert_nothing_left()
    assert list(temporary.iterdir()) == []


def test_what_each_command_prints_is_enough(dcss: Dcss) -> None:
    evidence = dcss.home / "evidence.json.gz"
    run = dcss.json("run", dcss.guests(2), "--evidence", evidence)
    for name, document in {"run": run, "verify": run["verify"], "measure": run["measure"]}.items():
        result = dcss.home / f"{name}.json"
        result.write_text(json.dumps(document))
        dcss("report", result, "-o", report(dcss))
        assert dcss.system in report(dcss).read_text()
        dcss("report", result, "--evidence", evidence, "-o", report(dcss))
        assert '"segments":[{"name":"LIB"' in report(dcss).read_text()
    for part in ("verify", "measure"):
        assert run[part]["provenance"]["page_bytes"] == 4096


@needs("frames")
def test_a_refuted_result_is_reported_with_its_status(dcss: Dcss) -> None:
    run = dcss.json("run", dcss.config("name: G, expect: copies"), status=None)
    result = dcss.home / "result.json"
    result.write_text(json.dumps({**run, "verify": {**run["verify"], "verdict": "refuted"}}))
    dcss("report", result, "-o", report(dcss), status=1)
    assert "refuted" in report(dcss).read_text()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"error": {"lines": ["no"]}}', '{"verify": {}}'])
def test_an_older_report_stays_where_the_result_is_wrong(dcss: Dcss, content: str) -> None:
    result = dcss.home / "result.json"
    result.write_text(content)
    report(dcss).write_text("older")
    report(dcss).chmod(0o666)
    said = dcss("report", result, "-o", report(dcss), status=2).stderr
    assert "result.json: " in said
    assert report(dcss).read_text() == "older"
    assert [path.name for path in dcss.home.glob("*.html*")] == ["report.html"]


def test_what_cannot_be_written_is_named_before_anything_is_done(dcss: Dcss) -> None:
    assert "wanted a file to write" in dcss("report", "x.json", "-o", dcss.home, status=2).stderr
    assert "found no directory" in dcss("report", "x.json", "-o", dcss.home / "no/r.html", status=2).stderr
    assert "found none that runs" in dcss("report", "-o", report(dcss), status=2).stderr
    assert "No such file" in dcss("report", "x.json", "-o", report(dcss), status=3).stderr
    said = dcss("report", "--evidence", "e.json", "-o", report(dcss), status=2).stderr
    assert "found no RESULT.json beside it" in said
    assert not report(dcss).exists()
