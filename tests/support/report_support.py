"""Made-up evidence for reports, as a file and in memory, and the decoder of what a page's script gets."""

import gzip
import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results_support import LIBRARIES, PAGES, made_up_run

from dcss.documents import to_document
from dcss.fleet.results import FleetHost, FleetResult
from dcss.report.html.pages import EvidenceFile, EvidenceFileRow, EvidencePages, SegmentPages
from dcss.report.html.source import ReportSource, RunFacts
from dcss.results import FileProof, RunResult, Verdict

USER_AREA = 0x7000_0000_0000
WINDOW = 0x6000_0000_0000
FIRST_FRAME = 1 << 20


def made_up_source(run: RunResult | None = None) -> ReportSource:
    """Return the source of a report of a run."""
    run = run or made_up_run()
    facts = RunFacts(run.guests, run.publish_seconds, run.ready_seconds, run.warnings)
    return ReportSource(run.verify, run.measure, facts)


def run_on_host(host: str) -> RunResult:
    """Return a run whose guests have names of their own."""
    run = made_up_run()
    guests = tuple(replace(guest, name=f"{guest.name}{host}") for guest in run.measure.guests)
    files = tuple(replace(file, guests=tuple(f"{guest}{host}" for guest in file.guests)) for file in run.verify.files)
    return replace(run, measure=replace(run.measure, guests=guests), verify=replace(run.verify, files=files))


def fleet_results(found: dict[str, RunResult | None], word: Verdict) -> tuple[FleetResult, FleetResult]:
    """Return what verify and measure of a fleet give; None stands for a host that cannot be asked."""

    def hosts(part: str) -> tuple[FleetHost, ...]:
        documents: dict[str, Any] = {
            name: None if run is None else to_document(getattr(run, part)) for name, run in found.items()
        }
        reasons = {name: "has no worker" if run is None else None for name, run in found.items()}
        return tuple(FleetHost(name, f"web-{name}", False, reasons[name], documents[name]) for name in found)

    return FleetResult("web", hosts("verify"), verdict=word), FleetResult("web", hosts("measure"))


def decoded(text: str) -> list[int | None]:
    """Return the numbers of `encode_numbers`."""
    numbers: list[int | None] = []
    number = shift = 0
    for byte in b64decode(text):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number - 1 if number else None)
            number = shift = 0
    return numbers


def decoded_column(text: str) -> list[int | None]:
    """Return the numbers of `encode_column`."""
    if not text.startswith("="):
        return decoded(text)
    return [number - 1 if number else None for number in decoded_runs(text[1:])]


def decoded_runs(text: str) -> list[int]:
    """Return the numbers of `encode_runs`, each as often as it was there."""
    numbers = decoded(text)
    values: list[int] = []
    for length, number in zip(numbers[::2], numbers[1::2], strict=True):
        assert length is not None
        assert number is not None
        values += [number] * length
    return values


def decoded_sets(encoded: Mapping[str, Any]) -> list[set[int]]:
    """Return the places of each set's guests."""
    numbers = [number or 0 for number in decoded(encoded["ranges"])]
    found = []
    while numbers:
        place, member = 0, set()
        for gap, length in zip(numbers[1 : 1 + 2 * numbers[0] : 2], numbers[2 : 2 + 2 * numbers[0] : 2], strict=False):
            member |= set(range(place + gap, place + gap + length))
            place += gap + length
        found.append(member)
        numbers = numbers[1 + 2 * numbers[0] :]
    return found


def mapping(first: int, frames: Sequence[int], **other: Any) -> dict[str, Any]:
    """Return a mapping as evidence has it, in the user area at the place that huge pages need."""
    address = USER_AREA + first * 4096
    plain = {"address": address, "permissions": "r--s", "segment_page": first, "frames": list(frames)}
    return {**plain, "present": [int(frame > 0) for frame in frames], **other}


def evidence_records(
    guests: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], pages: int, *, system: str = "demo"
) -> list[dict[str, Any]]:
    """Return the records of a look: for each guest the mappings of each of its processes; CP maps all pages."""
    frames = list(range(FIRST_FRAME, FIRST_FRAME + pages))
    ranges = {"window": [WINDOW, WINDOW + (1 << 40)], "user_area": [USER_AREA, USER_AREA + (1 << 40)]}
    counts = np.ones(pages, np.int64)
    for mapped in (each for processes in guests.values() for process in processes for each in process):
        for page, frame in enumerate(mapped["frames"], mapped["segment_page"]):
            counts[page] += bool(mapped["present"][page - mapped["segment_page"]]) and frame == frames[page]
    half = pages // 2
    files = [{"path": "/usr/lib/libc.so.6", "pages": list(range(1, half))}]
    files += [{"path": "/usr/lib/libz.so.1", "pages": list(range(half, pages))}]
    head = {"record": "segment", "segment": "LIB", "shm": "/dcss.demo.LIB.1", "pages": pages, "present": [1] * pages}
    own = {"pid": 1, "role": "cp", "segment": "LIB", "mappings": [mapping(0, frames)]}
    return [
        {"record": "system", "system": system, "evidence": "frames", "page_bytes": 4096},
        *({"record": "guest", "guest": guest, "expect": "shared", "pids": [], **ranges} for guest in guests),
        {**head, "frames": frames, "map_counts": counts.tolist(), "files": files, "joined": ["LIB"]},
        {"record": "mappings", **own},
        *(
            {"record": "mappings", "pid": 2, "role": guest, "segment": "LIB", "mappings": process}
            for guest, processes in guests.items()
            for process in processes
        ),
        {"record": "verdict", "verdict": "verified", "limits": []},
    ]


def write_evidence(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """Write records as `verify --evidence` does, compressed where the name ends in .gz."""
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def evidence_of(run: RunResult) -> EvidencePages:
    """Return evidence for a made-up run: all guests that share use all files but the last page of each."""
    used = np.ones(PAGES + 64, np.bool_)
    used[:64] = False
    each = PAGES // len(LIBRARIES)
    rows = [
        EvidenceFileRow(f"/usr/lib/{name}", np.arange(64 + at * each, 64 + (at + 1) * each))
        for at, name in enumerate(LIBRARIES)
    ]
    names = [guest.name for guest in run.measure.guests]
    users = {name: used for name in names if name.startswith("LINUX")}
    return evidence_pages(names, used.size, rows, users)


def evidence_pages(
    guests: Sequence[str], pages: int, files: Sequence[EvidenceFileRow], users: Mapping[str, np.ndarray[Any, Any]]
) -> EvidencePages:
    """Return evidence in memory, of one segment whose frames are in a row."""
    entries = np.ones(pages, np.int64)
    for used in users.values():
        entries += used
    frames = np.arange(FIRST_FRAME, FIRST_FRAME + pages)
    segment = SegmentPages("LIB", ("LIB",), np.ones(pages, np.bool_), frames, entries, tuple(files), dict(users))
    files_read = (EvidenceFile("evidence.json.gz", "0" * 64, 12),)
    segment.entries, segment.huge_mappings = entries, np.full(pages // 512, len(users))
    return EvidencePages(files_read, "demo", "frames", tuple(guests), (segment,))


def large_report(guests: int = 1000, pages: int = 100_000, files: int = 5000) -> tuple[ReportSource, EvidencePages]:
    """Return a report of many guests that use files in some hundred combinations."""
    run = made_up_run(guests, 0)
    random = np.random.default_rng(1)
    names = [guest.name for guest in run.measure.guests]
    each = pages // files
    rows = [
        EvidenceFileRow(f"/usr/lib/d{at % 97}/lib{at}.so.{at % 7}", np.arange(at * each, (at + 1) * each))
        for at in range(files)
    ]
    patterns = [np.repeat(random.random(files) < share, each) for share in np.linspace(0.1, 1.0, 8)]
    users = {name: patterns[at % len(patterns)] for at, name in enumerate(names)}
    proofs = tuple(
        FileProof("LIB", row.path, each, each, tuple(names[at % 8 :: 8]), each, True) for at, row in enumerate(rows)
    )
    verify = run.verify.__class__("demo", "verified", "frames", run.verify.claims, proofs)
    source = made_up_source(run)
    return ReportSource(verify, source.measure, source.run), evidence_pages(names, pages, rows, users)
