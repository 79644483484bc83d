"""Markdown tables of rows and growths."""

from collections.abc import Iterator, Sequence

from benchmarks.framework.results import NOTHING, Growth, Row
from benchmarks.framework.stats import Spread


def number(value: float) -> str:
    """Write a figure with three significant digits, and thousands with commas."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def ranged(spread: Spread) -> str:
    """Write a median, and the quartiles where they differ from it."""
    low, median, high = number(spread.low), number(spread.median), number(spread.high)
    return median if low == high else f"{median} [{low}–{high}]"


def comparison(rows: Sequence[Row]) -> str:
    """Return the table of a benchmark's rows, and under it what each figure includes and what was not measured."""
    others = list(dict.fromkeys(name for row in rows for name in (*row.samples, *row.skipped) if name != row.ours))
    wanted = any(row.wanted_ratio or row.wanted_most is not None for row in rows)
    header = ["", rows[0].ours, *others, *(["wanted"] if wanted else [])]
    lines = [_line(header), _line(["---"] * len(header))]
    for row in rows:
        cells = [f"{row.name}, {row.unit}", *(_cell(row, name) for name in (row.ours, *others))]
        lines.append(_line([*cells, *([_wanted(row)] if wanted else [])]))
    return "\n".join([*lines, "", *_notes(rows)])


def growth(growths: Sequence[Growth]) -> str:
    """Return the table of growths: smallest and largest size, exponent, and whether that is linear or better."""
    lines = [
        _line(["", "against", "from", "to", "exponent", "linear or better"]),
        _line(["---"] * 6),
    ]
    for each in growths:
        medians, exponent = each.medians(), each.exponent()
        ends = [f"{number(value)} {each.unit} at {size:,.0f}" for size, value in (medians[:1] + medians[-1:])]
        verdict = {True: "yes", False: "**no**", None: "not measured"}[each.passes()]
        shown = "–" if exponent is None else f"{exponent:.2f}"
        lines.append(_line([each.name, each.against, *(ends or ["–", "–"]), shown, verdict]))
    notes = [f"- *{each.name}*: {each.includes}.{_left_out(each)}" for each in growths]
    notes += [f"- *{each.name}*, not measured: {each.skipped}." for each in growths if each.skipped]
    return "\n".join([*lines, "", *notes])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(row: Row, subject: str) -> str:
    spread, ratio = row.spread(subject), row.ratio(subject)
    if spread is None:
        return "not measured" if subject in row.skipped else "–"
    return ranged(spread) if ratio is None else f"{ranged(spread)}, **{ranged(ratio)}**"


def _wanted(row: Row) -> str:
    verdict = {True: "reached", False: "**missed**", None: "not measured"}[row.met()]
    wanted = [f"{number(row.wanted_most)} {row.unit}"] if row.wanted_most is not None else []
    wanted += [f"{row.wanted_ratio[1]:g} times {row.wanted_ratio[0]}"] if row.wanted_ratio else []
    return f"{' and '.join(wanted)}: {verdict}" if wanted else ""


def _left_out(row: Row | Growth) -> str:
    return "" if row.leaves_out == NOTHING else f" Left out: {row.leaves_out}."


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield f"- *{row.name}*: {row.includes}.{_left_out(row)}"
    reasons = dict.fromkeys((subject, reason) for row in rows for subject, reason in row.skipped.items())
    for subject, reason in reasons:
        yield f"- *{subject}*, not measured: {reason}."
