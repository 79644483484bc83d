"""The status of systems: a head line for each, and a row for each guest."""

from collections.abc import Mapping
from datetime import UTC, datetime

from dcss.report.blocks import Block, Cell, Column, Note, Row, Table, bytes_cell, text_cell
from dcss.report.failure_view import failed_guests
from dcss.report.units import fmt_count, fmt_seconds
from dcss.results import GuestStatus, SystemStatus

_NONE = "-"
_COLUMNS = (
    Column("GUEST"),
    Column("ENGINE"),
    Column("STATE"),
    Column("SINCE"),
    Column("PRIVATE", right=True),
    Column("RESTARTS", right=True),
    Column("SEGMENTS"),
)


def status_section(status: SystemStatus, private_bytes: Mapping[str, int | None], now: datetime) -> list[Block]:
    """Return one system: a head line and its guests' table. `private_bytes` by guest; a missing one is unknown."""
    count = fmt_count(len(status.guests), "guest")
    text = (
        f": {status.state} since {_moment(status.since, now)}, {count}, CP is process {status.pid},"
        f" from {status.config}"
    )
    head = Note(text, status.system, "bold")
    rows = tuple(_row(guest, private_bytes, now) for guest in status.guests)
    return [head, Table(_COLUMNS, rows)] if rows else [head]


def _row(guest: GuestStatus, private_bytes: Mapping[str, int | None], now: datetime) -> Row:
    lives = guest.pid is not None
    return (
        text_cell(guest.name),
        text_cell(guest.engine),
        text_cell(guest.state),
        Cell(_moment(guest.since, now), guest.since),
        bytes_cell(private_bytes.get(guest.name)) if lives else Cell(_NONE, None),
        Cell(str(guest.restarts), guest.restarts),
        text_cell(" ".join(guest.segments) or _NONE),
    )


def _moment(iso: str, now: datetime) -> str:
    """Return an instant in local time, with its date only where that is not today's."""
    moment = datetime.fromisoformat(iso).astimezone(now.tzinfo)
    return moment.strftime("%H:%M:%S" if moment.date() == now.date() else "%Y-%m-%d %H:%M:%S")


def local_time() -> datetime:
    """Return this instant in local time."""
    return datetime.now(UTC).astimezone()


def up_sentence(status: SystemStatus, seconds: float) -> str:
    """Return what `dcss up` prints when the system is up."""
    failed = failed_guests(status)
    ready = fmt_count(sum(guest.state == "ready" for guest in status.guests), "guest")
    also = f", {len(failed)} failed" if failed else ""
    return f"{status.system}: up in {fmt_seconds(seconds)}, {ready} ready{also}"
