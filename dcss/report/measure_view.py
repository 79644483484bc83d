"""Accounts as text: a line per guest that adds up, private + shared = total, and what sharing saves."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from dcss.report.layout import Column, prose, table
from dcss.report.style import Style
from dcss.report.units import fmt_bytes, fmt_count
from dcss.report.verify_view import NOTE_INDENT
from dcss.results import GuestAccount, MeasureResult

UNKNOWN = "n/a"
_MIB = 1 << 20
_UNFOLDED = 16  # with up to this many guests each has its line
_SHOWN_OF_FOLDED = 3

_NAME_WIDTH = 10  # a name has at most 8 characters; sums have no engine and take its room
_GUEST_COLUMNS = (
    Column("GUEST".ljust(_NAME_WIDTH) + "ENGINE"),
    Column("PRIVATE  ", right=True),
    Column("SHARED  ", right=True),
    Column("TOTAL", right=True),
    Column("COPIES", right=True),
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
    """Return a guest's share: uss_bytes; segment pages in its mappings; page cache and buffers, which are private."""
    guest = account.guest
    return Share(account.host.uss_bytes, guest.xip_bytes, guest.page_cache_bytes + guest.buffer_bytes)


def guest_lines(result: MeasureResult, style: Style, *, show_all: bool) -> list[str]:
    """Return the guests' table in MiB: each on its own, all added up, and with what is shared counted once."""
    if not result.guests:
        return []
    everyone = _sum(map(share_of, result.guests))
    rows = _folded(result.guests) if not show_all and len(result.guests) > _UNFOLDED else None
    if rows is None:
        rows = [_row(account) for account in result.guests]
    rows.append(["each counted alone", *_amounts(everyone)])
    rows.append(["shared counted once", *_amounts(_once(everyone, result.totals.saved_bytes))])
    return ["Memory of the guests, in MiB:", *table(_GUEST_COLUMNS, rows, style, ruled_rows=2)]


def _row(account: GuestAccount) -> list[str]:
    return [account.name.ljust(_NAME_WIDTH) + account.engine, *_amounts(share_of(account))]


def _sum(shares: Iterable[Share]) -> Share:
    total = Share(0, 0, 0)
    for share in shares:
        total = total.plus(share)
    return total


def _once(everyone: Share, saved_bytes: int | None) -> Share:
    """Return the sum with each shared frame counted once: `saved_bytes` is what the sum counts too often."""
    if saved_bytes is None or everyone.shared_bytes is None:
        return everyone._replace(shared_bytes=None)
    return everyone._replace(shared_bytes=everyone.shared_bytes - saved_bytes)


def _amounts(share: Share) -> list[str]:
    """Return the cells of one line. The total is the sum of what is printed, so that every line adds up."""
    private, shared = (None if size is None else round(size / _MIB, 2) for size in share[:2])
    total = None if private is None or shared is None else private + shared
    copies = None if share.copies_bytes is None else round(share.copies_bytes / _MIB, 2)
    return [f"{_mib(private)} +", f"{_mib(shared)} =", _mib(total), _mib(copies)]


def _mib(amount: float | None) -> str:
    return UNKNOWN if amount is None else f"{amount:,.2f}"


def _folded(accounts: Sequence[GuestAccount]) -> list[list[str]]:
    """Return three lines for each row of numbered guests, and one for the rest of that row together."""
    rows = []
    for (stem, _), members in groupby(accounts, lambda account: (account.name.rstrip("0123456789"), account.engine)):
        group = list(members)
        shown = group if len(group) <= _SHOWN_OF_FOLDED + 1 else group[:_SHOWN_OF_FOLDED]
        rows += [_row(account) for account in shown]
        rest = group[len(shown) :]
        if rest:
            rows.append([f"{len(rest)} more of {stem}", *_amounts(_sum(map(share_of, rest)))])
    return rows


def segment_lines(result: MeasureResult, style: Style) -> list[str]:
    """Return the segments' table."""
    if not result.segments:
        return []
    columns = [
        Column("SEGMENT"),
        Column("SIZE", right=True),
        Column("IN MEMORY", right=True),
        Column("LOADED BY", right=True),
        Column("SHARED MEMORY OBJECT"),
    ]
    rows = [
        [
            segment.name,
            fmt_bytes(segment.bytes),
            fmt_bytes(segment.resident_bytes),
            fmt_count(segment.guests, "guest"),
            segment.shm,
        ]
        for segment in result.segments
    ]
    return table(columns, rows, style)


def saving_lines(result: MeasureResult, style: Style) -> list[str]:
    """Return what sharing saves, in one sentence."""
    totals = result.totals
    if totals.saved_bytes is None or totals.with_sharing_bytes is None or totals.without_sharing_bytes is None:
        return prose(f"Saved {UNKNOWN}: frames could not be counted", style)
    percent = 100 * totals.saved_bytes / totals.without_sharing_bytes if totals.without_sharing_bytes else 0.0
    saved = style.bold(f"Saved {fmt_bytes(totals.saved_bytes)}")
    without, once = fmt_bytes(totals.without_sharing_bytes), fmt_bytes(totals.with_sharing_bytes)
    return [f"{saved} ({percent:.0f} %): {once} where without sharing it would be {without}"]


def books_lines(result: MeasureResult, style: Style) -> list[str]:
    """Return what the figures are, and the machine's own free memory to check them by."""
    lines = prose(
        "PRIVATE is frames that only this guest's process maps, emulator included; SHARED is segment pages that it"
        " maps; COPIES, in PRIVATE, is what it holds of file systems in its page cache and buffers",
        style,
        first="measured by",
        indent=NOTE_INDENT,
    )
    machine = result.machine
    if machine is not None:
        fell_bytes = machine.free_before_bytes - machine.free_after_bytes
        went = "fell" if fell_bytes >= 0 else "rose"
        text = f"the machine's free memory {went} by {fmt_bytes(abs(fell_bytes))} since before the first guest"
        lines += prose(text, style, first="checked by", indent=NOTE_INDENT)
    return lines
