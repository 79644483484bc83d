"""How systems stand, as text: a head line per system, a line per guest, and why guests failed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dcss.report.layout import Column, paint_first, prose, table, visible
from dcss.report.measure_view import UNKNOWN
from dcss.report.style import Style
from dcss.report.units import fmt_bytes, fmt_count, fmt_seconds

_LOG_LINES = 12
_FAILED_SHOWN = 5
_FAILED_INDENT = 10
_FAILED_STATES = ("failed", "killed", "restarting")
_COLUMNS = (
    Column("GUEST"),
    Column("ENGINE"),
    Column("STATE"),
    Column("SINCE"),
    Column("PRIVATE", right=True),
    Column("RESTARTS", right=True),
    Column("SEGMENTS"),
)

Form = Mapping[str, Any]


def system_lines(form: Form, private_bytes: Mapping[str, int | None], now: datetime, style: Style) -> list[str]:
    """Return one system: a head line and its guests' table. `private_bytes` by guest; a missing one is unknown."""
    guests = form["guests"]
    count = fmt_count(len(guests), "guest")
    head = f"{style.bold(form['system'])}: {form['state']} since {_moment(form['since'], now)}, {count}"
    lines = [f"{head}, CP is process {form['pid']}, from {visible(form['config'])}"]
    rows = [
        [
            guest["name"],
            guest["engine"],
            guest["state"],
            _moment(guest["since"], now),
            _size(private_bytes.get(guest["name"])) if guest["pid"] is not None else "-",
            str(guest["restarts"]),
            " ".join(guest["segments"]) or "-",
        ]
        for guest in guests
    ]
    return [*lines, *table(_COLUMNS, rows, style)] if rows else lines


def _size(size_bytes: int | None) -> str:
    return UNKNOWN if size_bytes is None else fmt_bytes(size_bytes)


def _moment(iso: str, now: datetime) -> str:
    """Return an instant in local time, with its date only where that is not today's."""
    moment = datetime.fromisoformat(iso).astimezone(now.tzinfo)
    return moment.strftime("%H:%M:%S" if moment.date() == now.date() else "%Y-%m-%d %H:%M:%S")


def here_and_now() -> datetime:
    """Return this instant in local time."""
    return datetime.now(UTC).astimezone()


def failed_guests(form: Form) -> list[Form]:
    """Return the guests that are not as they should be."""
    return [guest for guest in form["guests"] if guest["state"] in _FAILED_STATES]


def failure_lines(form: Form, style: Style) -> list[str]:
    """Return why guests of a system failed, the first few with the end of their logs."""
    failed = failed_guests(form)
    lines = []
    for guest in failed[:_FAILED_SHOWN]:
        status = guest["exit_status"]
        how = "was killed" if status is not None and status < 0 else f"failed with status {status}"
        if guest["state"] == "restarting":
            how += f", and is started again after {fmt_count(guest['restarts'] - 1, 'restart')}"
        lines += paint_first(
            prose(f"{guest['name']}: {how}", style, first="FAILED", indent=_FAILED_INDENT), "FAILED", style.bad
        )
        log = (guest["reason"] or "").splitlines()[-_LOG_LINES:]
        lines += [" " * _FAILED_INDENT + style.dim(visible(line)) for line in log]
    if len(failed) > _FAILED_SHOWN:
        lines.append(" " * _FAILED_INDENT + f"and {fmt_count(len(failed) - _FAILED_SHOWN, 'more guest')}; see dcss ps")
    return lines


def up_line(form: Form, seconds: float) -> str:
    """Return the sentence that ends a start."""
    failed = failed_guests(form)
    ready = fmt_count(sum(guest["state"] == "ready" for guest in form["guests"]), "guest")
    also = f", {len(failed)} failed" if failed else ""
    return f"{form['system']}: up in {fmt_seconds(seconds)}, {ready} ready{also}"
