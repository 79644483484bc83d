"""A report is one small file that asks for nothing, whatever names are in it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from report_support import evidence_of, large_report, made_up_source
from results_support import made_up_run

from dcss.documents import to_document
from dcss.errors import ConfigError
from dcss.report.html import render
from dcss.report.html.render import render_report
from dcss.report.html.source import ReportSource, source_of
from dcss.results import VerifyResult

HOSTILE = "/usr/lib/</script><script>alert(1)</script><!--&\u2028\u202e.so"


class Elements(HTMLParser):
    """The elements of a page with their attributes, the texts of its scripts, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script" and self.lasttag == "script":
            self.scripts.append(data)
        self.text += data


def with_paths(source: ReportSource, *paths: str) -> ReportSource:
    assert source.verify is not None
    files = tuple(replace(source.verify.files[0], path=path) for path in paths)
    return replace(source, verify=replace(source.verify, files=files))


def data_of(page: str) -> Any:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def test_a_page_asks_for_nothing() -> None:
    run = made_up_run()
    page = Elements(render_report(made_up_source(run), evidence_of(run)))
    for tag, attributes in page.found:
        assert tag not in {"img", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "srcset", "action", "style"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    assert [tag for tag, _ in page.found].count("script") == 2


@pytest.mark.parametrize("path", [HOSTILE, "/usr/\udcff\udc00.so", "/a\x1b]0;x\x07", "/'\"`${1}{{2}}"])
def test_a_name_stays_text(path: str) -> None:
    source = with_paths(made_up_source(), path, "/usr/lib/plain.so")
    assert source.verify is not None
    claim = replace(source.verify.claims[0], detail=f"found {path}", holds=False)
    verify = replace(source.verify, claims=(claim,), limits=(path,), hints=(path,))
    text = render_report(replace(source, verify=verify))
    page = Elements(text)
    text.encode()  # no half of a character is left
    assert [tag for tag, _ in page.found].count("script") == 2
    assert data_of(text)["files"]["name"].count("plain.so") == 1


def test_a_name_that_is_not_utf8_shows_its_bytes() -> None:
    page = render_report(with_paths(made_up_source(), "/usr/\udcff.so"))
    assert data_of(page)["files"]["name"] == ["\\377.so"]


@pytest.mark.parametrize("part", ["verify", "measure"])
def test_what_a_result_lacks_is_said(part: str) -> None:
    source = made_up_source()
    alone = ReportSource(source.verify, None) if part == "verify" else ReportSource(None, source.measure)
    text = Elements(render_report(alone)).text
    assert "Not in this result" in text
    assert ("dcss measure --json has them" in text) == (part == "verify")
    assert ("dcss verify --json has them" in text) == (part == "measure")


def test_a_refuted_verdict_stands_first() -> None:
    source = made_up_source()
    assert source.verify is not None
    claim = replace(source.verify.claims[1], holds=False)
    verify = replace(source.verify, verdict="refuted", claims=(claim,))
    text = re.sub(r"\s+", " ", Elements(render_report(replace(source, verify=verify))).text)
    assert "✗ refuted No-hidden-copies does not hold." in text


def test_a_thousand_guests_and_a_hundred_thousand_pages_are_less_than_three_megabytes() -> None:
    source, evidence = large_report()
    page = render_report(source, evidence)
    assert len(page.encode()) < 3_000_000
    assert len(data_of(page)["guests"]["name"]) == 1000


def test_a_file_for_each_page_is_less_than_three_megabytes() -> None:
    source, evidence = large_report(files=100_000)
    assert len(render_report(source, evidence).encode()) < 3_000_000


def test_evidence_of_another_system_is_refused() -> None:
    run = made_up_run()
    with pytest.raises(ConfigError, match="found evidence of system other"):
        render_report(made_up_source(run), replace(evidence_of(run), system="other"))


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"found no jinja2.*pip install 'dcss-emulator\[report\]'"):
        render_report(made_up_source())


def test_processes_of_inspect_are_called_processes() -> None:
    document = to_document(made_up_run())
    found = source_of({"verify": document["verify"], "measure": document["measure"], "processes": []}, "x")
    text = Elements(render_report(found)).text
    assert "8 processes share 6 files" in text
    assert "each stands here as a guest" in text


def test_a_result_without_figures_is_a_page_too() -> None:
    empty = VerifyResult("demo", "unproved", "mappings", (), ())
    assert "unproved" in render_report(ReportSource(empty, None))
