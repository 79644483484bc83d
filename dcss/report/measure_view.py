"""Accounts: a row per guest that adds up, private + shared = total, and what sharing saves."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal, NamedTuple

from dcss.report.blocks import Block, Cell, Column, Note, Row, Table, bytes_cell, text_cell
from dcss.report.units import UNKNOWN, fmt_bytes, fmt_count
from dcss.report.verify_view import NOTE_INDENT
from dcss.results import GuestAccount, MeasureResult

SortKey = Literal["guest", "private", "shared", "total", "copies"]

_MIB = 1 << 20
_UNFOLDED = 16  # up to this many guests have a row each
_SHOWN_OF_FOLDED = 3

GUEST_COLUMNS = (
    Column("GUEST", min_width=8, gap=2),  # the length of the longest name
    Column("ENGINE"),
    Column("PRIVATE", right=True, suffix=" +"),
    Column("SHARED", right=True, suffix=" ="),
    Column("TOTAL", right=True),
    Column("COPIES", right=True),
)
_SEGMENT_COLUMNS = (
    Column("SEGMENT"),
    Column("SIZE", right=True),
    Column("IN MEMORY", right=True),
    Column("UNUSED", right=True),
    Column("LOADED BY", right=True),
    Column("SHARED MEMORY OBJECT"),
)
_MEANINGS = (
    "PRIVATE is frames that only this guest's process maps, emulator included; SHARED is segment pages that it maps;"
    " COPIES, in PRIVATE, is what it holds of file systems in its page cache, buffers and modules"
)


class Share(NamedTuple):
    """Host memory of one guest or several: frames of its own, frames of segments, and copies among its own."""

    private_bytes: int | None
    shared_bytes: int | None
    copies_bytes: int | None

    def plus(self, other: "Share") -> "Share":
        """Return the sum; unknown plus anything is unknown."""
        return Share(*(None if a is None or b is None else a + b for a, b in zip(self, other, strict=True)))


def share_of(account: GuestAccount) -> Share:
    """Return a guest's share: uss_bytes; segment pages that it maps; copies of files, which are private."""
    return Share(account.host.uss_bytes, account.mapped_segment_bytes, account.copies_bytes)


def guest_blocks(
    result: MeasureResult, *, show_all: bool, sort: SortKey | None = None, unfolded: int = _UNFOLDED
) -> list[Block]:
    """Return the guests' table in MiB: each by itself, all added up, and with shared frames counted once.

    Guests stand in the plan's order, or by `sort`: names from A, figures from the largest. Without `show_all`, more
    than `unfolded` of them are abbreviated.
    """
    if not result.guests:
        return []
    everyone = _sum(map(share_of, result.guests))
    guests = result.guests if sort is None else sorted(result.guests, key=lambda account: _sort_key(account, sort))
    if sort is None or show_all or len(guests) <= unfolded:
        rows = guest_rows(guests, show_all=show_all, unfolded=unfolded)
    else:
        rows = _cut(guests, max(unfolded - 1, 1))
    rows.append(_sum_row("each counted alone", everyone))
    rows.append(_sum_row("shared counted once", _once(everyone, result.totals.saved_bytes)))
    title = Note("Memory of the guests, in MiB:")
    notes = [note for notes_of in _GUEST_NOTES for note in notes_of(result.guests)] + _others_note(result)
    return [title, Table(GUEST_COLUMNS, tuple(rows), ruled_rows=2), *notes]


def guest_rows(guests: Sequence[GuestAccount], *, show_all: bool, unfolded: int = _UNFOLDED) -> list[Row]:
    """Return a row for each guest; without `show_all`, more than `unfolded` of them are abbreviated."""
    return [_row(account) for account in guests] if show_all or len(guests) <= unfolded else _folded(guests)


def _others_note(result: MeasureResult) -> list[Note]:
    """Return what the system's own processes cost beside the guests."""
    costs = [
        f"{each.name if len(each.pids) == 1 else fmt_count(len(each.pids), each.name)}"
        f" {UNKNOWN if each.host.uss_bytes is None else fmt_bytes(each.host.uss_bytes)}"
        for each in result.others
    ]
    return [Note(f"Beside the guests, private too: {', '.join(costs)}")] if costs else []


def _written_note(accounts: Sequence[GuestAccount]) -> list[Note]:
    """Return what guests wrote in segments that they load privately, where any did."""
    written = [account for account in accounts if account.written_segment_bytes]
    if not written:
        return []
    amounts = ", ".join(
        f"{account.name} {fmt_bytes(account.written_segment_bytes or 0)}" for account in written[:_SHOWN_OF_FOLDED]
    )
    more = f" and {len(written) - _SHOWN_OF_FOLDED} more guests" if len(written) > _SHOWN_OF_FOLDED else ""
    text = (
        f"PRIVATE has what guests wrote in segments that they load privately (ER, EW, EN, non-shared): {amounts}{more}"
    )
    return [Note(text)]


def _fallback_note(accounts: Sequence[GuestAccount]) -> list[Note]:
    """Return which mounts are not in place, although that was asked for."""
    found = [
        f"{account.name} at {mount.at} (wanted {mount.wanted}, found {mount.mode})"
        for account in accounts
        for mount in account.mounts
        if mount.fell_back
    ]
    if not found:
        return []
    more = f" and {len(found) - _SHOWN_OF_FOLDED} more" if len(found) > _SHOWN_OF_FOLDED else ""
    return [Note(f"Not reached as was asked for: {', '.join(found[:_SHOWN_OF_FOLDED])}{more}")]


def _accelerator_note(accounts: Sequence[GuestAccount]) -> list[Note]:
    """Return how virtual machines are executed, and why not by the host's CPU."""
    found: dict[tuple[str, str], list[str]] = {}
    for account in accounts:
        if account.accelerator is not None:
            found.setdefault((account.accelerator, account.accelerator_reason), []).append(account.name)
    ways = (
        f"{', '.join(names[:_SHOWN_OF_FOLDED])}{'…' if len(names) > _SHOWN_OF_FOLDED else ''} by {name}"
        f"{f' ({reason})' if reason else ''}"
        for (name, reason), names in found.items()
    )
    return [Note(f"Virtual machines are executed: {'; '.join(ways)}")] if found else []


_GUEST_NOTES = (_written_note, _fallback_note, _accelerator_note)


def _sort_key(account: GuestAccount, sort: SortKey) -> tuple[float, str]:
    if sort == "guest":
        return 0, account.name
    private_bytes, shared_bytes, copies_bytes = share_of(account)
    total_bytes = None if private_bytes is None or shared_bytes is None else private_bytes + shared_bytes
    figures = {"private": private_bytes, "shared": shared_bytes, "total": total_bytes, "copies": copies_bytes}
    figure = figures[sort]
    return math.inf if figure is None else -figure, account.name


def _row(account: GuestAccount) -> Row:
    return (text_cell(account.name), text_cell(account.engine), *_amounts(share_of(account)))


def _sum_row(name: str, share: Share) -> Row:
    return (text_cell(name, span=2), *_amounts(share))  # sums have no engine


def _sum(shares: Iterable[Share]) -> Share:
    total = Share(0, 0, 0)
    for share in shares:
        total = total.plus(share)
    return total


def _once(everyone: Share, saved_bytes: int | None) -> Share:
    """Return the sum with each shared frame counted once; counting them for each guest adds `saved_bytes`."""
    if saved_bytes is None or everyone.shared_bytes is None:
        return everyone._replace(shared_bytes=None)
    return everyone._replace(shared_bytes=everyone.shared_bytes - saved_bytes)


def _amounts(share: Share) -> tuple[Cell, ...]:
    """Return the cells of one row. The total is the sum of the rounded figures, so that every line adds up."""
    private, shared = (None if size is None else round(size / _MIB, 2) for size in share[:2])
    copies = None if share.copies_bytes is None else round(share.copies_bytes / _MIB, 2)
    if private is None or shared is None or share.private_bytes is None or share.shared_bytes is None:
        total = Cell(UNKNOWN, None)
    else:
        total = Cell(_mib(private + shared), share.private_bytes + share.shared_bytes)
    return (
        Cell(_mib(private), share.private_bytes),
        Cell(_mib(shared), share.shared_bytes),
        total,
        Cell(_mib(copies), share.copies_bytes),
    )


def _mib(amount: float | None) -> str:
    return UNKNOWN if amount is None else f"{amount:,.2f}"


def _folded(accounts: Sequence[GuestAccount]) -> list[Row]:
    """Return three rows for each sequence of numbered guests, and one for the rest of that sequence together."""
    rows = []
    for (stem, _), members in groupby(accounts, lambda account: (account.name.rstrip("0123456789"), account.engine)):
        group = list(members)
        shown = group if len(group) <= _SHOWN_OF_FOLDED + 1 else group[:_SHOWN_OF_FOLDED]
        rows += [_row(account) for account in shown]
        rest = group[len(shown) :]
        if rest:
            rows.append(_sum_row(f"{len(rest)} more of {stem}", _sum(map(share_of, rest))))
    return rows


def _cut(accounts: Sequence[GuestAccount], shown: int) -> list[Row]:
    """Return a row for each of the first few guests, and one for all others together."""
    rest = accounts[shown:]
    rows = [_row(account) for account in accounts[:shown]]
    return [*rows, _sum_row(fmt_count(len(rest), "more guest"), _sum(map(share_of, rest)))]


def short_segment_blocks(result: MeasureResult) -> list[Block]:
    """Return the segments' table for 80 columns: without the objects' names, and the first few segments only."""
    shown = result.segments[:_SHOWN_OF_FOLDED]
    blocks = [
        Table(table.columns[:-1], tuple(row[:-1] for row in table.rows))
        for table in segment_blocks(replace(result, segments=shown))
        if isinstance(table, Table)
    ]
    more = len(result.segments) - len(shown)
    return [*blocks, *([Note(f"and {fmt_count(more, 'more segment')}")] if more else [])]


def segment_blocks(result: MeasureResult) -> list[Block]:
    """Return the segments' table, and which of them lie in huge pages."""
    rows = tuple(
        (
            text_cell(segment.name),
            bytes_cell(segment.bytes),
            bytes_cell(segment.resident_bytes),
            bytes_cell(segment.unused_bytes),
            Cell(fmt_count(segment.guests, "guest"), segment.guests),
            text_cell(segment.shm),
        )
        for segment in result.segments
    )
    blocks: list[Block] = [Table(_SEGMENT_COLUMNS, rows)] if rows else []
    huge = [f"{fmt_bytes(segment.huge_bytes)} of {segment.name}" for segment in result.segments if segment.huge_bytes]
    more = [f"{len(huge) - _SHOWN_OF_FOLDED} more segments"] if len(huge) > _SHOWN_OF_FOLDED else []
    return [*blocks, Note(f"In huge pages: {', '.join([*huge[:_SHOWN_OF_FOLDED], *more])}")] if huge else blocks


def saving_note(result: MeasureResult) -> Note:
    """Return what sharing saves, in one sentence."""
    totals = result.totals
    if totals.saved_bytes is None or totals.with_sharing_bytes is None or totals.without_sharing_bytes is None:
        return Note(f"Saved {UNKNOWN}: frames could not be counted")
    percent = 100 * totals.saved_bytes / totals.without_sharing_bytes if totals.without_sharing_bytes else 0.0
    without, once = fmt_bytes(totals.without_sharing_bytes), fmt_bytes(totals.with_sharing_bytes)
    unused = [
        f"{fmt_bytes(segment.unused_bytes)} of {segment.name}" for segment in result.segments if segment.unused_bytes
    ]
    nobody = f"; no guest uses {', '.join(unused)}" if unused else ""
    if totals.saved_bytes < 0:
        text = f": {once} with sharing, {without} without{nobody}"
        return Note(text, f"Costs {fmt_bytes(-totals.saved_bytes)} more", "bold")
    text = f" ({percent:.0f} %): {once} where without sharing it would be {without}{nobody}"
    return Note(text, f"Saved {fmt_bytes(totals.saved_bytes)}", "bold")


def method_notes(result: MeasureResult) -> list[Note]:
    """Return what the figures mean, and the machine's own free memory to check them by."""
    notes = [Note(_MEANINGS, "measured by", indent=NOTE_INDENT)]
    machine = result.machine
    if machine is not None:
        fell_bytes = machine.free_before_bytes - machine.free_after_bytes
        went = "fell" if fell_bytes >= 0 else "rose"
        text = f"the machine's free memory {went} by {fmt_bytes(abs(fell_bytes))} since before the first guest"
        notes.append(Note(text, "checked by", indent=NOTE_INDENT))
    return notes
