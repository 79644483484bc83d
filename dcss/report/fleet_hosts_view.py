"""What the hosts of a fleet answered: a table of hosts, one of all guests, and why a host did not answer."""

from collections.abc import Iterable, Mapping
from typing import Any

from dcss.documents import from_document
from dcss.fleet.results import FleetHost, FleetResult, FleetRunResult, FleetTotals
from dcss.report.blocks import (
    Block,
    Cell,
    Column,
    Mark,
    Note,
    Page,
    Row,
    Table,
    Tone,
    bytes_cell,
    count_cell,
    text_cell,
)
from dcss.report.measure_view import GUEST_COLUMNS, guest_rows
from dcss.report.units import UNKNOWN, fmt_bytes, fmt_count
from dcss.results import MeasureResult, Verdict, sum_of

_UNFOLDED = 16
_COLUMNS = (
    Column(""),
    Column("HOST", min_width=8),
    Column("SYSTEM"),
    Column("GUESTS", right=True),
    Column("PRIVATE", right=True),
    Column("SEGMENTS", right=True),
    Column("SAVED", right=True),
    Column("VERDICT"),
)
_HOST_COLUMN = Column("HOST", min_width=8)
_STATE_COLUMNS = (_HOST_COLUMN, Column("GUEST"), Column("ENGINE"), Column("STATE"))


def hosts_page(result: FleetResult, *, show_all: bool = False) -> Page:
    """Return the page of the commands that ask each host of a fleet one thing."""
    sent = [Note(f"{fmt_bytes(result.sent_bytes)} sent")] if result.sent_bytes else []
    verdict = [] if result.verdict is None else [_verdict_note(result, result.verdict)]
    return (verdict, _reason_notes([result]), _host_blocks(result, {}), _guest_blocks(result, show_all=show_all), sent)


def run_page(result: FleetRunResult, *, show_all: bool = False) -> Page:
    """Return the page of ``dcss fleet run``, from the verdict to the verdict."""
    verdict = [_verdict_note(result.verify, result.verdict)]
    verdicts = {host.host: _verdict_of(host) for host in result.verify.hosts}
    return (
        verdict,
        _reason_notes([result.up, result.verify, result.measure, result.down]),
        _host_blocks(result.measure, verdicts),
        _guest_blocks(result.measure, show_all=show_all),
        [Note(f"{fmt_bytes(result.up.sent_bytes)} sent")],
        verdict,
    )


def _verdict_note(result: FleetResult, verdict: Verdict) -> Note:
    asked = sum(host.document is not None for host in result.hosts)
    text = f": {result.system} on {asked} of {fmt_count(len(result.hosts), 'host')}"
    tones: dict[Verdict, Tone] = {"verified": "good", "refuted": "bad", "unproved": "doubtful"}
    return Note(text, verdict.upper(), tones[verdict])


def _reason_notes(results: Iterable[FleetResult]) -> list[Block]:
    """Return why hosts did not answer; what several steps have in common is said once."""
    reasons = dict.fromkeys((host.host, host.reason) for result in results for host in result.hosts if host.reason)
    return [Note(f": {reason}", f"host {host}", "bad") for host, reason in reasons]


def _host_blocks(result: FleetResult, verdicts: Mapping[str, str]) -> list[Block]:
    rows = [_row(host, verdicts.get(host.host) or _verdict_of(host)) for host in result.hosts]
    if result.totals is not None:
        rows.append(_total_row(result.totals))
    return [Table(_COLUMNS, tuple(rows), ruled_rows=int(result.totals is not None))] if rows else [Note("no host")]


def _verdict_of(host: FleetHost) -> str:
    return str((host.document or {}).get("verdict") or ("adopted" if host.adopted else ""))


def _row(host: FleetHost, verdict: str) -> Row:
    document = host.document or {}
    guests = document.get("guests")
    is_measured = "totals" in document
    private = [guest["host"]["uss_bytes"] for guest in guests or ()] if is_measured else [None]
    segments = [segment["resident_bytes"] for segment in document.get("segments", ())] if is_measured else [None]
    holds = host.reason is None and {"refuted": False, "unproved": None}.get(verdict, True)
    return (
        Mark(holds),
        text_cell(host.host),
        text_cell(host.system),
        count_cell(len(guests)) if isinstance(guests, list) else Cell(UNKNOWN, None),
        bytes_cell(sum_of(private)),
        bytes_cell(sum_of(segments)),
        bytes_cell(document["totals"]["saved_bytes"] if is_measured else None),
        text_cell(verdict),
    )


def _total_row(totals: FleetTotals) -> Row:
    sizes = (totals.private_bytes, totals.segment_bytes, totals.saved_bytes)
    return (
        text_cell(""),
        text_cell("total", span=2),
        count_cell(totals.guests),
        *map(bytes_cell, sizes),
        text_cell(""),
    )


def _guest_blocks(result: FleetResult, *, show_all: bool) -> list[Block]:
    """Return one table of all guests: what they cost where that was measured, or their state."""
    documents = [(host.host, host.document) for host in result.hosts if host.document is not None]
    if any("totals" in document for _, document in documents):
        rows = [
            (text_cell(host), *row)
            for host, document in documents
            for row in guest_rows(from_document(MeasureResult, document).guests, show_all=show_all)
        ]
        return [Note("Memory of the guests, in MiB:"), Table((_HOST_COLUMN, *GUEST_COLUMNS), tuple(rows))]
    rows = [row for host, document in documents for row in _state_rows(host, document, show_all=show_all)]
    return [Table(_STATE_COLUMNS, tuple(rows))] if rows else []


def _state_rows(host: str, document: Mapping[str, Any], *, show_all: bool) -> list[Row]:
    """Return a host's guests and their states; of many, those that are not ready and how many are."""
    guests = [guest for guest in document.get("guests", ()) if "state" in guest]
    shown = guests if show_all or len(guests) <= _UNFOLDED else [each for each in guests if each["state"] != "ready"]
    rows: list[Row] = [
        (text_cell(host), *(text_cell(str(guest[key])) for key in ("name", "engine", "state"))) for guest in shown
    ]
    if len(shown) < len(guests):
        rows.append((text_cell(host), text_cell(f"{len(guests) - len(shown):,} more", span=2), text_cell("ready")))
    return rows
