"""What is planned, up and proved of a fleet, as tables of its hosts."""

from collections.abc import Iterator

from dcss.fleet.results import FleetPlanResult, GrowthStep, HostLoad, PlacedGuests, Shortage
from dcss.report.blocks import Block, Column, Mark, Note, Page, Row, Table, bytes_cell, count_cell, text_cell
from dcss.report.shortened import shortened
from dcss.report.units import fmt_bytes, fmt_count, fmt_seconds

_SHOWN_HOSTS = 16
_SHOWN_LACKS = 8
_HOST_COLUMNS = (
    Column("HOST", min_width=8),
    Column("GUESTS", right=True),
    Column("PRIVATE", right=True, suffix=" +"),
    Column("SEGMENTS", right=True, suffix=" +"),
    Column("CP", right=True, suffix=" ="),
    Column("NEEDED", right=True),
    Column("FREE", right=True),
    Column("RUNS"),
)
_GROWTH_COLUMNS = (
    Column(""),
    Column("GUESTS", right=True),
    Column("HOSTS", right=True),
    Column("PRIVATE", right=True),
    Column("SEGMENTS", right=True),
    Column("NEEDED", right=True),
    Column("PLANNED IN", right=True),
)


def plan_page(result: FleetPlanResult, *, show_all: bool = False) -> Page:
    """Return the page of ``dcss fleet plan``; `show_all` has a row for each host."""
    used = [host for host in result.hosts if host.guests]
    return (
        [_sentence(result, len(used))],
        list(_lacks(result.lacks, show_all=show_all)),
        _hosts(result, used, show_all=show_all),
        _growth(result.growth),
        [Note(f" {line}", "estimated:", "doubtful") for line in result.estimates],
    )


def _sentence(result: FleetPlanResult, used: int) -> Note:
    hosts = f"{used:,} of {fmt_count(len(result.hosts), 'host')}"
    if result.fits:
        return Note(f": {fmt_count(result.guests, 'guest')} on {hosts}", f"{result.system} fits", "good")
    left = fmt_count(result.unplaced_guests, "guest")
    return Note(f": {left} of {result.guests:,} have no room on {hosts}", f"{result.system} does not fit", "bad")


def _lacks(lacks: tuple[Shortage, ...], *, show_all: bool) -> Iterator[Note]:
    shown, more = shortened(lacks, _SHOWN_LACKS, "line", show_all=show_all)
    for each in shown:
        text = f": {fmt_bytes(each.free_bytes)} left, {each.entry} needs {fmt_bytes(each.needed_bytes)} for one more"
        lack = f"{each.reason}" if not each.lacks_bytes else f"lacks {fmt_bytes(each.lacks_bytes)}"
        yield Note(f"{text}: {lack}", f"host {each.host}", "bad")
    yield from more


def _hosts(result: FleetPlanResult, used: list[HostLoad], *, show_all: bool) -> list[Block]:
    shown, more = shortened(result.hosts if show_all else used, _SHOWN_HOSTS, "host", show_all=show_all)
    rows = [_host_row(host) for host in shown]
    total = (
        text_cell("total"),
        count_cell(sum(host.guests for host in used)),
        bytes_cell(sum(host.private_bytes for host in used)),
        bytes_cell(sum(host.segment_bytes for host in used)),
        bytes_cell(sum(_cp_bytes(host) for host in used)),
        bytes_cell(sum(host.needed_bytes for host in used)),
        bytes_cell(sum(host.free_bytes for host in result.hosts)),
        text_cell(""),
    )
    return [Table(_HOST_COLUMNS, (*rows, total), ruled_rows=1), *more]


def _host_row(host: HostLoad) -> Row:
    return (
        text_cell(host.host),
        count_cell(host.guests),
        bytes_cell(host.private_bytes),
        bytes_cell(host.segment_bytes),
        bytes_cell(_cp_bytes(host)),
        bytes_cell(host.needed_bytes),
        bytes_cell(host.free_bytes),
        text_cell(", ".join(map(_placed, host.placed))),
    )


def _cp_bytes(host: HostLoad) -> int:
    return host.needed_bytes - host.private_bytes - host.segment_bytes


def _placed(placed: PlacedGuests) -> str:
    return placed.first if placed.guests == 1 else f"{placed.first}-{placed.last}"


def _growth(growth: tuple[GrowthStep, ...]) -> list[Block]:
    if not growth:
        return []
    rows = tuple(
        (
            Mark(step.fits),
            count_cell(step.guests),
            count_cell(step.hosts),
            bytes_cell(step.private_bytes),
            bytes_cell(step.segment_bytes),
            bytes_cell(step.needed_bytes),
            text_cell(fmt_seconds(step.seconds)),
        )
        for step in growth
    )
    return [Note("How it grows:"), Table(_GROWTH_COLUMNS, rows)]
