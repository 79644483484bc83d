"""What a sweep found, as a table with a row for each configuration."""

from dcss.config.load_sweep import text_of
from dcss.documents import JsonObject
from dcss.fleet.sweep.results import SweepResult
from dcss.report.blocks import Cell, Column, Mark, Note, Page, Row, Table, bytes_cell, count_cell, text_cell
from dcss.report.quoting import escaped
from dcss.report.shortened import shortened
from dcss.report.units import UNKNOWN, fmt_count, fmt_seconds

_SHOWN_ROWS = 40
_RUN_COLUMNS = (
    Column("GUESTS", right=True),
    Column("READY IN", right=True),
    Column("PRIVATE", right=True),
    Column("SEGMENTS", right=True),
    Column("SAVED", right=True),
    Column("TOOK", right=True),
    Column(""),
)
_KERNEL_COLUMNS = (Column("RELEASE"), Column("OK", right=True), Column("BAD"), Column("TOOK", right=True), Column(""))


def sweep_page(result: SweepResult, *, show_all: bool = False) -> Page:
    """Return the page of ``dcss sweep``; `show_all` has every row."""
    rows = sorted(result.found, key=lambda row: (row["number"], row["repeat"]))
    shown, more = shortened(rows, _SHOWN_ROWS, "row", show_all=show_all)
    kernels = bool(rows) and rows[0]["command"] == "kernel-test"
    columns = (
        Column(""),
        *(Column(key) for key in result.keys),
        *([Column("REPEAT", right=True)] if _repeated(rows) else []),
        *(_KERNEL_COLUMNS if kernels else _RUN_COLUMNS),
    )
    table = Table(columns, tuple(_row(result, row, kernels=kernels, repeated=_repeated(rows)) for row in shown))
    return [[_sentence(result)], [*([table] if rows else []), *more], [Note(f" {result.output}", "rows in", None)]]


def row_line(row: JsonObject, label: str) -> str:
    """Return what a log has of a row that was just found."""
    found = row["error"] or row.get("verdict") or fmt_count(row.get("checks_ok") or 0, "check") + " ok"
    took = "" if row["seconds"] is None else f", {fmt_seconds(row['seconds'])}"
    outcome = "" if row["outcome"] == "done" else f"{row['outcome']}: "
    return escaped(f"{label}: {outcome}{found}{took}")


def _sentence(result: SweepResult) -> Note:
    failed = f", {result.failed} failed" if result.failed else ""
    left = f", {result.left} left" if result.left else ""
    text = f": {result.done} of {fmt_count(result.configurations, 'configuration')} done{failed}{left}"
    return Note(text, f"sweep {result.sweep}", "bad" if result.failed else "doubtful" if result.left else "good")


def _repeated(rows: list[JsonObject]) -> bool:
    return any(row["repeat"] > 1 for row in rows)


def _row(result: SweepResult, row: JsonObject, *, kernels: bool, repeated: bool) -> Row:
    keys = tuple(Cell(escaped(text_of(row[key])), text_of(row[key])) for key in result.keys)
    repeat = (count_cell(row["repeat"]),) if repeated else ()
    error = text_cell(escaped(f"{row['outcome']}: {row['error']}" if row["error"] else ""))
    took = _seconds(row["seconds"])
    if kernels:
        bad = row["checks_bad"]
        good = None if row["outcome"] != "done" else not bad
        figures: Row = (
            text_cell(row["release"] or UNKNOWN),
            count_cell(row["checks_ok"]),
            text_cell(" ".join(bad or ())),
            took,
            error,
        )
    else:
        good = {"verified": True, "refuted": False}.get(row["verdict"] or "") if row["outcome"] == "done" else False
        figures = (
            count_cell(row["guest_count"]),
            _seconds(row["ready_seconds"]),
            *(bytes_cell(row[name]) for name in ("private_bytes", "segment_bytes", "saved_bytes")),
            took,
            error,
        )
    return (Mark(good), *keys, *repeat, *figures)


def _seconds(seconds: float | None) -> Cell:
    return Cell(UNKNOWN if seconds is None else fmt_seconds(seconds), seconds)
