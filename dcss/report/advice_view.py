"""What belongs into a segment, as `dcss advise` shows it."""

from collections.abc import Iterator

from dcss.plan.results import Advice, AdviceInput, AdvisedFile, Forecast
from dcss.report.blocks import Block, Cell, Column, Note, Page, Row, Table, bytes_cell, count_cell, text_cell
from dcss.report.shortened import shortened
from dcss.report.units import fmt_bytes, fmt_count

_SHOWN = 15
_SHOWN_INPUTS = 10
_INPUTS = (
    Column("INPUT"),
    Column("KIND"),
    Column("GUESTS", right=True),
    Column("FILES", right=True),
    Column("SIZE", right=True),
    Column("TOUCHED", right=True),
    Column("SOURCE"),
)
_FILES = (
    Column("SAVED", right=True),
    Column("SIZE", right=True),
    Column("TOUCHED", right=True),
    Column("GUESTS", right=True),
    Column("FILE"),
)
_FORECASTS = (
    Column("GUESTS", right=True),
    Column("PRIVATE", right=True),
    Column("WITHOUT", right=True),
    Column("SHARED", right=True),
    Column("SAVED", right=True),
    Column("OF IT"),
)


def advice_page(advice: Advice, program: str, *, show_all: bool) -> Page:
    """Return the page of ``dcss advise``; `program` is how this program is called."""
    chosen = [file for file in advice.files if file.chosen]
    left = [file for file in advice.files if not file.chosen]
    sections: list[list[Block]] = [[_headline(advice)]]
    inputs, more = shortened(advice.inputs, _SHOWN_INPUTS, "input", show_all=show_all)
    sections.append([Table(_INPUTS, tuple(map(_input_row, inputs))), *more])
    sections.append([Note("Into the segment, by bytes saved:"), *_files(chosen, show_all=show_all)])
    if left:
        sections.append([Note("Left out, since others save more in this size:"), *_files(left, show_all=show_all)])
    sections.append([Note("Forecast:"), Table(_FORECASTS, tuple(map(_forecast_row, advice.forecasts)))])
    sections.append(list(_notes(advice)))
    if advice.output is not None:
        sections.append([Note(f"{advice.output} written; run it with: {program} run {advice.output}")])
    return sections


def _headline(advice: Advice) -> Note:
    segment, first = advice.segment, advice.forecasts[0]
    names = ":".join(segment.names)
    text = (
        f": {fmt_count(segment.files, 'file')}, {fmt_bytes(segment.bytes)} at {segment.address:#x},"
        f" {_saves(first.saved_bytes)} for {fmt_count(first.guests, 'guest')}"
    )
    return Note(text, names, "bold")


def _saves(saved_bytes: int) -> str:
    return f"saves {fmt_bytes(saved_bytes)}" if saved_bytes >= 0 else f"costs {fmt_bytes(-saved_bytes)} more"


def _input_row(each: AdviceInput) -> Row:
    return (
        text_cell(each.name),
        text_cell(each.kind),
        count_cell(each.guests),
        count_cell(each.files),
        bytes_cell(each.bytes),
        _touched_cell(each.touched_bytes, each.bytes),
        text_cell(each.source),
    )


def _touched_cell(touched_bytes: int | None, size_bytes: int) -> Cell:
    """Return what was touched, and how much of all that is; a dash where nobody knows."""
    if touched_bytes is None:
        return Cell("-", None)
    percent = 100 * touched_bytes / size_bytes if size_bytes else 0
    return Cell(f"{fmt_bytes(touched_bytes)} ({percent:.0f} %)", touched_bytes)


def _files(files: list[AdvisedFile], *, show_all: bool) -> Iterator[Block]:
    shown = files if show_all or len(files) <= _SHOWN + 1 else files[:_SHOWN]
    rest = files[len(shown) :]
    rows = [_file_row(file) for file in shown]
    if rest:
        rows.append(_rest_row(rest))
    yield Table(_FILES, tuple(rows))


def _file_row(file: AdvisedFile) -> Row:
    more = len(file.paths) - 1
    path = f"{file.path} and {fmt_count(more, 'more name')}" if more else file.path
    return (
        bytes_cell(file.saved_bytes),
        bytes_cell(file.bytes),
        _touched_cell(file.touched_bytes, file.bytes),
        count_cell(file.guests),
        text_cell(path),
    )


def _rest_row(rest: list[AdvisedFile]) -> Row:
    return (
        bytes_cell(sum(file.saved_bytes for file in rest)),
        bytes_cell(sum(file.bytes for file in rest)),
        Cell("", None),
        Cell("", None),
        text_cell(f"{fmt_count(len(rest), 'more file')}; -v shows all"),
    )


def _forecast_row(forecast: Forecast) -> Row:
    percent = 100 * forecast.saved_bytes / forecast.without_sharing_bytes if forecast.without_sharing_bytes else 0.0
    return (
        count_cell(forecast.guests),
        bytes_cell(forecast.private_bytes),
        bytes_cell(forecast.without_sharing_bytes),
        bytes_cell(forecast.with_sharing_bytes),
        bytes_cell(forecast.saved_bytes),
        Cell(f"{percent:.0f} %", percent),
    )


def _notes(advice: Advice) -> Iterator[Block]:
    yield from (Note(line, "on z/VM", indent=_NOTE_INDENT) for line in advice.segment.defseg)
    choice = advice.choice
    if choice.budget_bytes is not None:
        rest = (
            "no choice of files saves more"
            if choice.exact
            else f"no choice saves more than {fmt_bytes(choice.bound_bytes)}"
        )
        yield Note(f"to save most in {fmt_bytes(choice.budget_bytes)}: {rest}", "chosen", indent=_NOTE_INDENT)
    touched = advice.forecasts[0].touched_saved_bytes
    if touched is not None:
        text = f"{_saves(touched)} where guests touch what the processes have touched; the forecast is for whole files"
        yield Note(text, "touched", indent=_NOTE_INDENT)
    yield Note(_MEANINGS, "forecast by", indent=_NOTE_INDENT)
    yield from (Note(note, "note", indent=_NOTE_INDENT) for note in advice.notes)


_NOTE_INDENT = 13
_MEANINGS = (
    "WITHOUT is what guests map that have the files whole, summed; SHARED is the segment, once; PRIVATE is what they"
    " have for themselves on this machine, to about a tenth, where engine process runs them"
)
