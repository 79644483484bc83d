"""What the hosts of a fleet answered: one table, and the reason of each that did not."""

from dcss.fleet.results import FleetHost, FleetResult
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
from dcss.report.units import UNKNOWN, fmt_bytes, fmt_count
from dcss.results import sum_of

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


def hosts_page(result: FleetResult) -> Page:
    """Return the page of the commands of a fleet."""
    verdict = [] if result.verdict is None else [Note(_sentence(result), result.verdict.upper(), _tone(result))]
    reasons: list[Block] = [
        Note(f": {host.reason}", f"host {host.host}", "bad") for host in result.hosts if host.reason is not None
    ]
    sent = [Note(f"{fmt_bytes(result.sent_bytes)} sent")] if result.sent_bytes else []
    rows = tuple(map(_row, result.hosts))
    return (verdict, reasons, [Table(_COLUMNS, rows)] if rows else [Note("no host")], sent)


def _sentence(result: FleetResult) -> str:
    asked = sum(host.document is not None for host in result.hosts)
    return f": {result.system} on {asked} of {fmt_count(len(result.hosts), 'host')}"


def _tone(result: FleetResult) -> Tone:
    return "good" if result.verdict == "verified" else "bad"


def _row(host: FleetHost) -> Row:
    document = host.document or {}
    guests = document.get("guests")
    is_measured = "totals" in document
    private = [guest["host"]["uss_bytes"] for guest in guests or ()] if is_measured else [None]
    segments = [segment["resident_bytes"] for segment in document.get("segments", ())] if is_measured else [None]
    verdict = document.get("verdict")
    holds = {"verified": True, "refuted": False}.get(verdict or "") if verdict else (host.reason is None)
    return (
        Mark(holds if host.reason is None else False),
        text_cell(host.host),
        text_cell(host.system),
        count_cell(len(guests)) if isinstance(guests, list) else Cell(UNKNOWN, None),
        bytes_cell(sum_of(private)),
        bytes_cell(sum_of(segments)),
        bytes_cell(document["totals"]["saved_bytes"] if is_measured else None),
        text_cell(verdict or ("adopted" if host.adopted else "")),
    )
