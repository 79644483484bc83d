"""A comparison of ways to file bytes: one table of the ways, what each guest pays, and rows for other programs."""

from collections.abc import Sequence
from statistics import median

from dcss.report.blocks import Block, Cell, Column, Mark, Note, Page, Row, Table, bytes_cell, text_cell
from dcss.report.units import UNKNOWN, fmt_bytes, fmt_count
from dcss.results import ComparisonResult, WayResult

_WAY_COLUMNS = (
    Column(""),
    Column("WAY"),
    Column("READY", right=True),
    Column("CPU", right=True),
    Column("PRIVATE", right=True, suffix=" +"),
    Column("SEGMENTS", right=True, suffix=" ="),
    Column("MEMORY", right=True),
    Column("A GUEST", right=True),
    Column("OF IT COPIES", right=True),
)
_GUEST_COLUMNS = (
    Column("GUEST", min_width=8),
    Column("WAY"),
    Column("TIME", right=True),
    Column("CPU", right=True),
    Column("PRIVATE", right=True),
    Column("OF IT COPIES", right=True),
    Column("SHARED", right=True),
)
_MEANINGS = (
    "READY is until all guests' lists have ended; CPU is what the guests took; MEMORY is private memory of all guests,"
    " and what the segments keep resident; A GUEST is the median of the guests' private memory"
)


def compare_page(result: ComparisonResult, *, show_all: bool = False) -> Page:
    """Return the page of ``dcss compare``; `show_all` has a row for each guest."""
    rounds = fmt_count(result.rounds, "round")
    blocks: list[Block] = [Table(_WAY_COLUMNS, tuple(_way_row(way) for way in result.ways if way.reason is None))]
    notes = [Note(f" {way.reason}", f"not by {way.way}:", "doubtful") for way in result.ways if way.reason is not None]
    merged = [way for way in result.ways if way.merged_bytes is not None]
    notes += [
        Note(f"KSM merged pages into {fmt_bytes(way.merged_bytes or 0)}: part of MEMORY, and private to no guest")
        for way in merged
    ]
    guests = _guest_blocks(result) if show_all else []
    return (
        [Note(f"{result.system}: one workload by every way to file bytes, medians of {rounds}")],
        blocks,
        guests,
        notes,
        [Note(_MEANINGS), *(Note(limit, "limited by ") for limit in result.limits[:3])],
    )


def guest_median_bytes(sizes: Sequence[int | None]) -> int | None:
    """Return the median over guests, or None where one of them is not known."""
    known = [size for size in sizes if size is not None]
    return round(median(known)) if known and len(known) == len(sizes) else None


def _way_row(way: WayResult) -> Row:
    return (
        Mark({"verified": True, "refuted": False}.get(way.verdict or "")),
        text_cell(way.way),
        _seconds(way.ready_seconds),
        _seconds(way.cpu_seconds),
        bytes_cell(way.private_bytes),
        bytes_cell(way.segment_bytes),
        bytes_cell(way.memory_bytes),
        bytes_cell(guest_median_bytes([guest.private_bytes for guest in way.guests])),
        bytes_cell(guest_median_bytes([guest.copies_bytes for guest in way.guests])),
    )


def _guest_blocks(result: ComparisonResult) -> list[Block]:
    pairs = sorted(((guest, way.way) for way in result.ways for guest in way.guests), key=lambda pair: pair[0].name)
    rows = tuple(
        (
            text_cell(guest.name),
            text_cell(way),
            _seconds(guest.seconds),
            _seconds(guest.cpu_seconds),
            bytes_cell(guest.private_bytes),
            bytes_cell(guest.copies_bytes),
            bytes_cell(guest.shared_bytes),
        )
        for guest, way in pairs
    )
    return [Table(_GUEST_COLUMNS, rows)] if rows else []


def _seconds(seconds: float | None) -> Cell:
    return Cell(UNKNOWN if seconds is None else f"{seconds:.3f} s", seconds)
