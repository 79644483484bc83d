"""Pages of results: the verdict first, then the reasons, then what each guest costs."""

from collections.abc import Iterable

from dcss.report import inspect_view, measure_view, timings_view, verify_view
from dcss.report.blocks import Note, Page, Table
from dcss.report.failure_view import failed_guests, failure_notes, failure_reasons, outcome_failures, status_failures
from dcss.report.layout import render_block, render_page
from dcss.report.screen import Frame
from dcss.report.status_view import up_sentence
from dcss.report.style import Style
from dcss.report.units import fmt_count, fmt_seconds
from dcss.report.verify_view import NOTE_INDENT
from dcss.results import InspectResult, MeasureResult, RunResult, SystemStatus, VerifyResult

_TABLE_LINES = 5  # of the guests' table besides its guests: titles, rule, two sums, an empty line
_LIMITS_SHOWN = 5
_SHOWS_ALL = " (-v shows all)"


def run_page(result: RunResult, *, show_all: bool = False) -> Page:
    """Return the page of ``dcss run``, from the verdict to the verdict: all that was found, whatever failed."""
    verify, measure = result.verify, result.measure
    failures = outcome_failures(result.guests)
    limits = dict.fromkeys(verify.limits + measure.limits)  # a limit of both is shown once
    return (
        [verify_view.verdict_note(verify)],
        verify_view.hint_notes(verify, show_all=show_all),
        list(failure_reasons(failures)),
        list(failure_notes(failures, show_all=show_all, more=_SHOWS_ALL)),
        [_warning_note(warning) for warning in result.warnings],
        verify_view.claim_judgements(verify),
        verify_view.file_blocks(verify, show_all=show_all),
        measure_view.segment_blocks(measure),
        measure_view.guest_blocks(measure, show_all=show_all),
        [measure_view.saving_note(measure)],
        [] if result.timings is None else timings_view.timing_blocks(result.timings, show_all=show_all),
        [
            verify_view.method_note(verify),
            *measure_view.method_notes(measure),
            *_limit_notes(limits, show_all=show_all),
            _time_note(result),
        ],
        # At the end too, where a terminal shows it.
        [*verify_view.hint_notes(verify, show_all=show_all), verify_view.verdict_note(verify)],
    )


def verify_page(result: VerifyResult, *, show_all: bool = False) -> Page:
    """Return the page of ``dcss verify``."""
    return (
        [verify_view.verdict_note(result)],
        verify_view.hint_notes(result, show_all=show_all),
        verify_view.claim_judgements(result),
        verify_view.file_blocks(result, show_all=show_all),
        [verify_view.method_note(result), *_limit_notes(result.limits, show_all=show_all)],
    )


def measure_page(
    result: MeasureResult, *, show_all: bool = False, sort: measure_view.SortKey | None = None, legend: bool = True
) -> Page:
    """Return the page of ``dcss measure``; the legend says what the figures mean."""
    notes = measure_view.method_notes(result) if legend else []
    return (
        measure_view.segment_blocks(result),
        measure_view.guest_blocks(result, show_all=show_all, sort=sort),
        [measure_view.saving_note(result)],
        [*notes, *_limit_notes(result.limits, show_all=show_all)],
    )


def inspect_page(result: InspectResult, *, show_all: bool = False, legend: bool = True) -> Page:
    """Return the page of ``dcss inspect``; the legend says what the figures mean."""
    verify = result.verify
    limits = dict.fromkeys(verify.limits + result.measure.limits)
    legends = [verify_view.method_note(verify), inspect_view.meanings_note(NOTE_INDENT)] if legend else []
    return (
        [verify_view.verdict_note(verify, inspect_view.PROCESSES)],
        verify_view.hint_notes(verify, show_all=show_all),
        verify_view.claim_judgements(verify),
        inspect_view.object_blocks(result, show_all=show_all),
        inspect_view.process_blocks(result),
        [measure_view.saving_note(result.measure)],
        [*legends, *_limit_notes(limits, show_all=show_all)],
    )


def inspect_frame(result: InspectResult, style: Style, *, show_all: bool) -> Frame:
    """Return the page of ``dcss inspect --watch`` on a terminal: the verdict stays, the rest is cut where it ends."""
    lines = render_page(inspect_page(result, show_all=show_all, legend=False), style).splitlines()
    return Frame(lines[:1], lines[1:], [])


def measure_frame(
    result: MeasureResult, style: Style, rows: int, *, show_all: bool, sort: measure_view.SortKey | None
) -> Frame:
    """Return the page of ``dcss measure --watch`` on a terminal of so many rows: all but the guests' rows is fixed."""
    notes = [
        measure_view.saving_note(result),
        measure_view.method_notes(result)[0],
        *_limit_notes(result.limits[:1], show_all=True),
    ]
    foot = render_page((measure_view.short_segment_blocks(result), notes), style).splitlines()
    room = rows - len(foot) - _TABLE_LINES
    blocks = measure_view.guest_blocks(result, show_all=show_all, sort=sort, unfolded=room)
    tables = [block for block in blocks if isinstance(block, Table)]
    lines = [line for table in tables for line in render_block(table, style)]
    return Frame(lines[:1], lines[1:-3], [*lines[-3:], "", *foot])


def up_page(status: SystemStatus, seconds: float, next_step: str) -> Page:
    """Return the page of ``dcss up``: guests that failed, and that the system is up."""
    failures = status_failures(failed_guests(status))
    sentence = f"{up_sentence(status, seconds)}; {next_step}"
    return (
        [
            *failure_reasons(failures),
            *failure_notes(failures, show_all=False, more="; see dcss ps"),
            Note(sentence),
        ],
    )


def _warning_note(warning: str) -> Note:
    return Note(f" {warning}", "warning:", "doubtful")


def _limit_notes(limits: Iterable[str], *, show_all: bool) -> list[Note]:
    """Return what could not be seen, or not well, and why."""
    every = list(limits)
    shown = every if show_all else every[:_LIMITS_SHOWN]
    if len(shown) < len(every):
        shown = [*shown, f"and {fmt_count(len(every) - len(shown), 'more limit')}{_SHOWS_ALL}"]
    return [Note(limit, "limited by", indent=NOTE_INDENT) for limit in shown]


def _time_note(result: RunResult) -> Note:
    failed = len(outcome_failures(result.guests))
    ready = f"{fmt_count(len(result.guests) - failed, 'guest')} ready" + (f" and {failed:,} failed" if failed else "")
    text = f"published in {fmt_seconds(result.publish_seconds)}, {ready} in {fmt_seconds(result.ready_seconds)}"
    cloned = sum(outcome.boot == "clone" for outcome in result.guests)
    if cloned:
        text += f"; {fmt_count(cloned, 'guest')} cloned"
    return Note(text, "took", indent=NOTE_INDENT)
