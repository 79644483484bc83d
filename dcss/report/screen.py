"""Results as a page that a person reads: the verdict first, then the reasons, then what each guest costs."""

from collections.abc import Iterable

from dcss.report.layout import paint_first, prose, visible
from dcss.report.measure_view import books_lines, guest_lines, saving_lines, segment_lines
from dcss.report.style import Style
from dcss.report.units import fmt_count, fmt_seconds
from dcss.report.verify_view import NOTE_INDENT, claim_lines, file_lines, method_lines, verdict_lines
from dcss.results import GuestOutcome, MeasureResult, RunResult, VerifyResult

_LOG_LINES = 12
_FAILED_SHOWN = 5
_LIMITS_SHOWN = 5
_FAILED_INDENT = 10


def run_screen(result: RunResult, style: Style, *, show_all: bool = False) -> str:
    """Return the page of ``dcss run``. Whatever failed or was refuted, all that was found is on it."""
    verify, measure = result.verify, result.measure
    limits = dict.fromkeys(verify.limits + measure.limits)  # what neither side could see is said once
    return _page(
        verdict_lines(verify, style),
        _failure_lines(result.guests, style, show_all=show_all),
        [line for warning in result.warnings for line in _warning_lines(warning, style)],
        claim_lines(verify, style),
        file_lines(verify, style, show_all=show_all),
        segment_lines(measure, style),
        guest_lines(measure, style, show_all=show_all),
        saving_lines(measure, style),
        [
            *method_lines(verify, style),
            *books_lines(measure, style),
            *_limit_lines(limits, style, show_all=show_all),
            *_time_lines(result, style),
        ],
    )


def verify_screen(result: VerifyResult, style: Style, *, show_all: bool = False) -> str:
    """Return the page of ``dcss verify``."""
    return _page(
        verdict_lines(result, style),
        claim_lines(result, style),
        file_lines(result, style, show_all=show_all),
        [*method_lines(result, style), *_limit_lines(result.limits, style, show_all=show_all)],
    )


def measure_screen(result: MeasureResult, style: Style, *, show_all: bool = False) -> str:
    """Return the page of ``dcss measure``."""
    return _page(
        segment_lines(result, style),
        guest_lines(result, style, show_all=show_all),
        saving_lines(result, style),
        [*books_lines(result, style), *_limit_lines(result.limits, style, show_all=show_all)],
    )


def _page(*blocks: Iterable[str]) -> str:
    """Join blocks of lines with an empty line between them; empty blocks vanish."""
    return "\n\n".join(text for text in ("\n".join(block) for block in blocks) if text)


def _failure_lines(outcomes: Iterable[GuestOutcome], style: Style, *, show_all: bool) -> list[str]:
    failed = [outcome for outcome in outcomes if outcome.exit_status]
    shown = failed if show_all else failed[:_FAILED_SHOWN]
    lines = []
    for outcome in shown:
        text = f"{outcome.name}: {_ending(outcome)} after {fmt_seconds(outcome.seconds)}"
        lines += paint_first(prose(text, style, first="FAILED", indent=_FAILED_INDENT), "FAILED", style.bad)
        lines += [" " * _FAILED_INDENT + style.dim(visible(line)) for line in outcome.log.splitlines()[-_LOG_LINES:]]
    if len(failed) > len(shown):
        lines.append(" " * _FAILED_INDENT + f"and {fmt_count(len(failed) - len(shown), 'more guest')} (-v shows all)")
    return lines


def _ending(outcome: GuestOutcome) -> str:
    status = outcome.exit_status
    return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _warning_lines(warning: str, style: Style) -> list[str]:
    return paint_first(prose(f"warning: {warning}", style), "warning:", style.doubtful)


def _limit_lines(limits: Iterable[str], style: Style, *, show_all: bool) -> list[str]:
    """Return what could not be seen, or not well, and why."""
    told = list(limits)
    shown = told if show_all else told[:_LIMITS_SHOWN]
    more = len(told) - len(shown)
    if more:
        shown = [*shown, f"and {fmt_count(more, 'more limit')} (-v shows all)"]
    return [line for limit in shown for line in prose(limit, style, first="limited by", indent=NOTE_INDENT)]


def _time_lines(result: RunResult, style: Style) -> list[str]:
    ready = fmt_count(len(result.guests), "guest")
    text = f"published in {fmt_seconds(result.publish_seconds)}, {ready} ready in {fmt_seconds(result.ready_seconds)}"
    return prose(text, style, first="took", indent=NOTE_INDENT)
