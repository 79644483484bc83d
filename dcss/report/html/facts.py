"""What a report says in words and figures, ready for its template: names are escaped for the eye, not yet for HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from dcss.abi.page import PAGE_SIZE
from dcss.report.html.claims import CLAIM_TEXTS, RECOMPUTE
from dcss.report.html.pages import EvidencePages, SegmentPages
from dcss.report.html.source import ReportHost, ReportSource
from dcss.report.measure_view import share_of
from dcss.report.quoting import escaped
from dcss.report.units import UNKNOWN, fmt_bytes, fmt_count, fmt_seconds
from dcss.report.verify_view import verdict_sentence
from dcss.results import Claim, MeasureResult, Provenance, VerifyResult, sum_of

Tone = Literal["good", "bad", "doubtful", "neutral"]

_MARKS: dict[bool | None, tuple[str, str, Tone]] = {
    True: ("✓", "holds", "good"),
    False: ("✗", "does not hold", "bad"),
    None: ("?", "could not be judged", "doubtful"),
}
_VERDICTS: dict[str, tuple[str, Tone]] = {
    "verified": ("✓", "good"),
    "refuted": ("✗", "bad"),
    "unproved": ("?", "doubtful"),
}
_FLEET_PAGES = "give dcss fleet report the directory of --evidence, too."
_LEVELS = {
    "frames": "page frames, from /proc/PID/pagemap and /proc/kpagecount",
    "mappings": "device, inode and offset of the guests' mappings; page frames could not be seen",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first thing on the page."""

    word: str
    mark: str
    tone: Tone
    sentence: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure at the top: a number with its unit, and what it is."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the picture of what sharing saves; `percent` is its length."""

    label: str
    value: str
    percent: float
    kind: str


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """One claim: how it was judged, what it means, and how a reader computes it again."""

    name: str
    mark: str
    judged: str
    tone: Tone
    detail: str
    meaning: str
    recompute: str
    recomputed: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: what it is about, and its cells."""

    head: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host of a fleet in the table of hosts; `about` is its machine, or why it could not be asked."""

    name: str
    verdict: str
    tone: Tone
    cells: tuple[str, ...]
    about: str


def verdict(source: ReportSource) -> Verdict:
    """Return the verdict, or that the result has none."""
    result = source.verify
    if result is None:
        return Verdict("not judged", "–", "neutral", "This result has no verdict: it comes from dcss measure alone.")
    mark, tone = _VERDICTS[result.verdict]
    who = ("process", "processes") if source.about_processes else ("guest", "guests")
    sentence = escaped(_fleet_sentence(source, result) if source.hosts else verdict_sentence(result, *who))
    return Verdict(result.verdict, mark, tone, sentence[0].upper() + sentence[1:] + ".")


def _fleet_sentence(source: ReportSource, result: VerifyResult) -> str:
    hosts = fmt_count(len(source.hosts), "host")
    silent = sum(host.verify is None for host in source.hosts)
    if silent and result.verdict == "unproved":
        return f"{silent:,} of {hosts} could not be asked"
    return f"{verdict_sentence(result)}, on {hosts}"


def host_rows(source: ReportSource) -> list[HostRow]:
    """Return the hosts of a fleet: verdict, guests, private memory, segments, what is saved, and the machine."""
    return [_host_row(host) for host in source.hosts]


def _host_row(host: ReportHost) -> HostRow:
    mark, tone = _VERDICTS["unproved" if host.verify is None else host.verify.verdict]
    verdict = f"{mark} {'not asked' if host.verify is None else host.verify.verdict}"
    about = escaped(host.reason or _machine(host))
    measure = host.measure
    if measure is None:
        return HostRow(escaped(host.name), verdict, tone, (UNKNOWN,) * 4, about)
    private = sum_of([share_of(guest).private_bytes for guest in measure.guests])
    resident = sum(segment.resident_bytes for segment in measure.segments)
    sizes = (_bytes(private), fmt_bytes(resident), _bytes(measure.totals.saved_bytes))
    return HostRow(escaped(host.name), verdict, tone, (f"{len(measure.guests):,}", *sizes), about)


def _machine(host: ReportHost) -> str:
    found = None if host.verify is None else host.verify.provenance
    if found is None:
        return ""
    return (
        f"{found.host}: {fmt_count(found.cpus, 'CPU')}, {fmt_bytes(found.memory_bytes)}, {found.kernel}"
        f" {found.architecture}, dcss {found.dcss}"
    )


def figures(source: ReportSource) -> Iterator[Figure]:
    """Yield the figures that matter most: what is saved, and what a guest costs."""
    measure, verify = source.measure, source.verify
    if measure is not None:
        yield _saved(measure)
        private = [size for guest in measure.guests if (size := share_of(guest).private_bytes) is not None]
        if private:
            note = f"median of {fmt_count(len(private), 'guest')}; the most is {fmt_bytes(max(private))}"
            yield Figure("Private memory of a guest", fmt_bytes(round(median(private))), note)
        resident = sum(segment.resident_bytes for segment in measure.segments)
        where = "each once on its host" if source.hosts else "once for all guests"
        note = f"{fmt_count(len(measure.segments), 'segment')}, {where}"
        yield Figure("Segments in memory", fmt_bytes(resident), note)
    if verify is not None:
        shared = [file for file in verify.files if file.shared]
        pages = sum(file.checked_pages for file in shared)
        note = f"of {fmt_count(len(verify.files), 'file')} that guests map; {pages:,} pages checked"
        yield Figure("Files proved shared", f"{len(shared):,}", note)


def _saved(measure: MeasureResult) -> Figure:
    saved, without = measure.totals.saved_bytes, measure.totals.without_sharing_bytes
    if saved is None or without is None:
        return Figure("Saved by sharing", UNKNOWN, "page frames could not be counted")
    if saved < 0:
        return Figure("Cost of sharing", fmt_bytes(-saved), "more than copies would take")
    percent = f"{saved / without:.0%} of " if without else ""
    return Figure("Saved by sharing", fmt_bytes(saved), f"{percent}{fmt_bytes(without)} that copies would take")


def saving_bars(measure: MeasureResult | None) -> list[Bar]:
    """Return two bars: the memory of shared pages without sharing, and with it."""
    if measure is None:
        return []
    without, once = measure.totals.without_sharing_bytes, measure.totals.with_sharing_bytes
    if without is None or once is None:
        return []
    longest = max(without, once, 1)
    return [
        Bar("A copy for each guest", fmt_bytes(without), 100 * without / longest, "copies"),
        Bar("With the segments", fmt_bytes(once), 100 * once / longest, "shared"),
    ]


def claims(result: VerifyResult | None, evidence: EvidencePages | None) -> list[ClaimFacts]:
    """Return every claim, with its evidence."""
    return [] if result is None else [_claim(claim, evidence) for claim in result.claims]


def _claim(claim: Claim, evidence: EvidencePages | None) -> ClaimFacts:
    mark, judged, tone = _MARKS[claim.holds] if claim.applies else ("–", "does not apply", "neutral")
    meaning = CLAIM_TEXTS.get(claim.claim, "")
    recompute = RECOMPUTE.get(claim.claim, "")
    recomputed = None if evidence is None else _recomputed(claim.claim, evidence)
    return ClaimFacts(claim.claim, mark, judged, tone, escaped(claim.detail), meaning, recompute, recomputed)


def _recomputed(claim: str, evidence: EvidencePages) -> str | None:
    """Return what this report itself found in the evidence; None for claims that need more than page tables."""
    segments = evidence.segments
    if evidence.level != "frames":
        return None
    if claim == "one-frame-per-page":
        compared, differing = (sum(each) for each in ((s.compared for s in segments), (s.differing for s in segments)))
        return f"{compared:,} page-table entries of guests compared with CP's frames: {differing:,} differ."
    if claim == "books-close":
        entries = sum(int(segment.entries.sum()) for segment in segments)
        counted = sum(map(_counted, segments))
        return f"{entries:,} page-table entries found in all processes; the kernel counts {counted:,}."
    return None


def _counted(segment: SegmentPages) -> int:
    return 0 if segment.map_counts is None else int(segment.map_counts[segment.frames > 0].sum())


def segment_rows(measure: MeasureResult | None, evidence: EvidencePages | None) -> list[Row]:
    """Return the segments: size, resident, used by nobody, huge pages, users, object."""
    if measure is not None:
        return [
            Row(
                escaped(segment.name),
                (
                    fmt_bytes(segment.bytes),
                    fmt_bytes(segment.resident_bytes),
                    _bytes(segment.unused_bytes),
                    _bytes(segment.huge_bytes),
                    f"{segment.guests:,}",
                    escaped(segment.shm),
                ),
            )
            for segment in measure.segments
        ]
    if evidence is None:
        return []
    return [_evidence_row(segment) for segment in evidence.segments]


def _evidence_row(segment: SegmentPages) -> Row:
    users = sum(bool(used.any()) for used in segment.used_by.values())
    resident = fmt_bytes(int(segment.present.sum()) * PAGE_SIZE)
    size = fmt_bytes(segment.pages * PAGE_SIZE)
    return Row(escaped(segment.label), (size, resident, UNKNOWN, UNKNOWN, f"{users:,}", UNKNOWN))


def other_rows(measure: MeasureResult | None) -> list[Row]:
    """Return what CP, fork server and templates cost beside the guests."""
    others = () if measure is None else measure.others
    return [
        Row(each.name, (f"{len(each.pids):,}", _bytes(each.host.uss_bytes), _bytes(each.host.rss_bytes)))
        for each in others
    ]


def _bytes(size_bytes: int | None) -> str:
    return UNKNOWN if size_bytes is None else fmt_bytes(size_bytes)


def provenance_rows(source: ReportSource, evidence: EvidencePages | None) -> list[tuple[str, str]]:
    """Return names and values: the machine, versions, times, and how the result was found."""
    found = [
        result.provenance for result in (source.verify, source.measure) if result is not None and result.provenance
    ]
    rows = _machine_rows(found[0]) if found else []
    if source.verify is not None:
        rows.append(("Proved by", _LEVELS[source.verify.evidence]))
        rows.append(("CPU time of the proof", fmt_seconds(source.verify.cpu_seconds)))
    rows += _measure_rows(source.measure)
    if source.run is not None:
        rows.append(("Segments published in", fmt_seconds(source.run.publish_seconds)))
        rows.append(("Guests ready in", fmt_seconds(source.run.ready_seconds)))
    if evidence is not None:
        for file in evidence.files:
            whose = "" if file.host is None else f" of host {escaped(file.host)}"
            rows.append((f"Evidence{whose}", f"{escaped(file.name)}, {fmt_count(file.records, 'record')}"))
            rows.append((f"SHA-256 of the evidence{whose}", file.sha256))
    return rows


def _machine_rows(provenance: Provenance) -> list[tuple[str, str]]:
    memory = fmt_bytes(provenance.memory_bytes)
    return [
        ("Found at", provenance.time.replace("T", " ").replace("Z", " UTC")),
        ("Machine", f"{escaped(provenance.host)}: {fmt_count(provenance.cpus, 'CPU')}, {memory} of memory"),
        (
            "Kernel",
            f"{escaped(provenance.kernel)}, {escaped(provenance.architecture)}, pages of {provenance.page_bytes} B",
        ),
        ("Versions", f"dcss {escaped(provenance.dcss)}, Python {escaped(provenance.python)}"),
    ]


def _measure_rows(measure: MeasureResult | None) -> list[tuple[str, str]]:
    if measure is None or measure.machine is None:
        return []
    fell_bytes = measure.machine.free_before_bytes - measure.machine.free_after_bytes
    went = "fell" if fell_bytes >= 0 else "rose"
    return [("Free memory of the machine", f"{went} by {fmt_bytes(abs(fell_bytes))} since before the first guest")]


def warnings(source: ReportSource) -> list[str]:
    """Return what to look at first: likely causes, guests that failed, warnings of the run."""
    found = [f"Host {host.name} could not be asked: {host.reason}" for host in source.hosts if host.reason is not None]
    if source.verify is not None:
        found += source.verify.hints
    if source.run is not None:
        found += source.run.warnings
        found += _failures(source)
    return [escaped(text) for text in dict.fromkeys(found)]


def _failures(source: ReportSource) -> Sequence[str]:
    failed = [guest for guest in source.run.guests if guest.exit_status] if source.run is not None else []
    return [f"Guest {guest.name} failed with exit status {guest.exit_status}." for guest in failed[:10]] + (
        [f"{len(failed) - 10:,} more guests failed."] if len(failed) > 10 else []
    )


def missing(source: ReportSource, evidence: EvidencePages | None) -> list[str]:
    """Return what this report cannot show, and which command has it."""
    if source.hosts:
        return [] if evidence is not None else [f"The pages of the segments: {_FLEET_PAGES}"]
    texts = []
    if source.verify is None:
        texts.append("The verdict, the claims and the files: dcss verify --json has them.")
    if source.measure is None:
        texts.append("The memory of the guests and what sharing saves: dcss measure --json has them.")
    if evidence is None:
        texts.append("The pages of the segments: give dcss report the file of --evidence, too.")
    if source.run is None:
        texts.append("How long the guests took to start: dcss run --json has it.")
    return texts
