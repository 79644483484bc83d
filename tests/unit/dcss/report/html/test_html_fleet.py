"""The report of a fleet has the verdict of all hosts, each host, and guests, segments and files with their hosts."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from report_support import (
    decoded_column,
    decoded_runs,
    decoded_sets,
    evidence_records,
    fleet_results,
    mapping,
    run_on_host,
    write_evidence,
)

from dcss.documents import to_document
from dcss.errors import ConfigError
from dcss.fleet.results import FleetRunResult, FleetTotals
from dcss.report.html.facts import host_rows, verdict, warnings
from dcss.report.html.fleet import fleet_evidence, fleet_source, read_fleet_source
from dcss.report.html.payload import payload
from dcss.report.html.render import render_report
from dcss.results import Claim


def test_guests_segments_and_files_have_their_hosts() -> None:
    runs = {"a": run_on_host("a"), "b": run_on_host("b")}
    source = fleet_source(*fleet_results({**runs}, "verified"))
    data = payload(source, None)
    expected = [(guest.name, host) for host, run in runs.items() for guest in run.measure.guests]
    assert list(zip(data["guests"]["name"], data["guests"]["host"], strict=True))[: len(expected)] == expected
    segments = [segment.name for segment in runs["a"].measure.segments]
    assert source.measure is not None
    assert [segment.name for segment in source.measure.segments] == [
        f"{name} on {host}" for host in "ab" for name in segments
    ]
    assert {name.partition(" on ")[2] for name in data["files"]["segments"]} == {"a", "b"}
    assert len(decoded_column(data["files"]["pages"])) == 2 * len(runs["a"].verify.files)
    assert data["uses"]["segments"] == list(dict.fromkeys(file.segment for file in runs["a"].verify.files))
    saved = [run.measure.totals.saved_bytes for run in runs.values()]
    assert source.measure.totals.saved_bytes == sum(each or 0 for each in saved)


def test_the_verdict_stands_first_and_every_host_below() -> None:
    page = render_report(fleet_source(*fleet_results({"a": run_on_host("a"), "b": run_on_host("b")}, "verified")))
    assert page.index("verified") < page.index('id="hosts"') < page.index('id="guests"')
    assert ", on 2 hosts." in page
    assert '<th scope="row">a</th><td class="state-yes">✓ verified</td>' in page
    assert "dcss verify web " not in page  # no host has a system of that name


def test_a_host_that_cannot_be_asked_is_named_and_nothing_is_made_up_of_it() -> None:
    source = fleet_source(*fleet_results({"a": run_on_host("a"), "b": None}, "unproved"))
    assert verdict(source).word == "unproved"
    assert verdict(source).sentence == "1 of 2 hosts could not be asked."
    assert warnings(source)[0] == "Host b could not be asked: has no worker"
    row = host_rows(source)[1]
    assert (row.verdict, row.about, set(row.cells)) == ("? not asked", "has no worker", {"n/a"})
    assert source.measure is not None
    assert source.measure.totals.saved_bytes is None
    assert "has no worker" in render_report(source)


@pytest.mark.parametrize(
    ("holds", "together"), [((True, True), True), ((True, None), None), ((None, False), False), ((True, False), False)]
)
def test_a_claim_holds_where_it_does_on_every_host(
    holds: tuple[bool | None, bool | None], together: bool | None
) -> None:
    runs = {}
    for name, each in zip("ab", holds, strict=True):
        run = run_on_host(name)
        claims = (Claim("books-close", each, f"seen on {name}"), Claim("baselines-copy", None, "none", applies=False))
        runs[name] = replace(run, verify=replace(run.verify, claims=claims))
    source = fleet_source(*fleet_results({**runs}, "unproved"))
    assert source.verify is not None
    books, baselines = source.verify.claims
    assert (books.holds, books.applies, baselines.applies) == (together, True, False)
    worst = min("ab", key=lambda name: {False: 0, None: 1, True: 2}[holds["ab".index(name)]])
    assert books.detail.startswith(f"{worst}: seen on {worst}; ")


PAGES = 1024


def written_evidence(directory: Path, host: str, system: str | None = None) -> Path:
    """Write a file in which the first guest of a host uses half of a segment's pages and the second all of them."""
    frames = range(1 << 20, (1 << 20) + PAGES)
    guests = {f"LINUX01{host}": [[mapping(0, frames[: PAGES // 2])]], f"LINUX02{host}": [[mapping(0, frames)]]}
    records = evidence_records(guests, PAGES, system=system or f"web-{host}")
    return write_evidence(directory / f"web-{host}.json.gz", records)


def test_the_pages_of_a_segment_are_those_of_each_host(tmp_path: Path) -> None:
    source = fleet_source(*fleet_results({"a": run_on_host("a"), "b": run_on_host("b"), "c": None}, "unproved"))
    for host in "ab":
        written_evidence(tmp_path, host)
    evidence = fleet_evidence(source, tmp_path)
    data = payload(source, evidence)
    assert [(segment["name"], segment["host"]) for segment in data["segments"]] == [
        ("LIB on a", "a"),
        ("LIB on b", "b"),
    ]
    names = data["guests"]["name"]
    members = decoded_sets(data["sets"])
    for segment in data["segments"]:
        sets = decoded_runs(segment["set"])
        assert [sets[page] == sets[0] for page in (PAGES // 2 - 1, PAGES // 2)] == [True, False]
        host = segment["host"]
        assert {names[place] for place in members[sets[0]]} == {f"LINUX01{host}", f"LINUX02{host}"}
        assert {names[place] for place in members[sets[-1]]} == {f"LINUX02{host}"}
    # A guest is on one host, so that a segment of several hosts is one column of what guests use.
    assert (data["uses"]["segments"], data["uses"]["exact"]) == (["LIB"], True)
    (column,) = data["uses"]["pages"]
    used = dict(zip(names, decoded_column(column), strict=True))
    assert {name: pages for name, pages in used.items() if pages} == {
        f"LINUX{number}{host}": pages for host in "ab" for number, pages in (("01", PAGES // 2), ("02", PAGES))
    }
    page = render_report(source, evidence)
    assert "SHA-256 of the evidence of host b</dt>" in page
    assert f"{3 * PAGES:,} page-table entries of guests compared with CP&#39;s frames: 0 differ." in page


def test_a_fleet_of_which_no_host_answered_has_no_pages(tmp_path: Path) -> None:
    assert fleet_evidence(fleet_source(*fleet_results({"a": None}, "unproved")), tmp_path) is None


def test_evidence_that_is_not_there_or_of_another_system_is_said(tmp_path: Path) -> None:
    source = fleet_source(*fleet_results({"a": run_on_host("a")}, "verified"))
    with pytest.raises(ConfigError, match=re.escape(f"found no web-a.json.gz in {tmp_path}, wanted that of host a")):
        fleet_evidence(source, tmp_path)
    path = written_evidence(tmp_path, "a", system="web-b")
    with pytest.raises(ConfigError, match=re.escape(f"found evidence of system web-b in {path}, wanted web-a's")):
        fleet_evidence(source, tmp_path)


TOTALS = {"guests": 0, "private_bytes": 0, "segment_bytes": 0, "saved_bytes": 0}


def written(path: Path, document: object) -> str:
    path.write_text(json.dumps(document))
    return str(path)


def test_documents_of_run_or_of_verify_and_measure_give_the_same_report(tmp_path: Path) -> None:
    verify, measure = fleet_results({"a": run_on_host("a"), "b": None}, "unproved")
    measure = replace(measure, totals=FleetTotals(2, None, None, None))
    one = written(tmp_path / "verify.json", to_document(verify))
    other = written(tmp_path / "measure.json", to_document(measure))
    whole = FleetRunResult("web", "unproved", verify, verify, measure, verify)
    run = written(tmp_path / "run.json", to_document(whole))
    assert read_fleet_source([run]) == read_fleet_source([other, one]) == fleet_source(verify, measure)
    alone = read_fleet_source([one])
    assert (alone.verify is None, alone.measure, alone.hosts[1].reason) == (False, None, "has no worker")
    assert "✓ verified" in render_report(alone)
    assert read_fleet_source([other]).verify is None
    assert "has no worker" in render_report(read_fleet_source([other]))


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([{"hosts": [], "system": "web"}], "found an object with hosts, system, wanted what dcss fleet run"),
        ([{"error": {"lines": ["it is down"]}}], "a command that failed (it is down), wanted what dcss fleet run"),
        ([{"hosts": 1, "system": "web", "verdict": "verified"}], "it is not what dcss fleet run"),
        ([{"hosts": [], "system": "web", "verdict": "verified"}] * 2, "found another result of dcss fleet verify"),
        (
            [
                {"hosts": [], "system": "web", "verdict": "verified"},
                {"hosts": [], "system": "db", "totals": TOTALS},
            ],
            "found results of fleet web and of fleet db, wanted those of one",
        ),
    ],
)
def test_what_is_no_result_of_a_fleet_is_said(tmp_path: Path, documents: list[dict[str, object]], said: str) -> None:
    names = [written(tmp_path / f"{number}.json", document) for number, document in enumerate(documents)]
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_fleet_source(names)
