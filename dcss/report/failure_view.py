"""Guests that failed: who, how, and the end of the log. The one renderer for `run`, `up` and `guest`."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dcss.host.process import how_ended
from dcss.report.blocks import Note
from dcss.report.units import fmt_count, fmt_seconds
from dcss.results import GuestOutcome, GuestStatus, SystemStatus

_FAILED_STATES = ("failed", "killed", "restarting")
_LABEL = "FAILED"
_INDENT = 10
_LOG_LINES = 12
_SHOWN = 5


class Failure(NamedTuple):
    """A guest that failed. `how` follows its name; `log` is the end of its log, or the reason why it did not start."""

    name: str
    how: str
    log: str


def failed_guests(status: SystemStatus) -> tuple[GuestStatus, ...]:
    """Return the guests of a system that failed."""
    return tuple(guest for guest in status.guests if is_failed(guest))


def is_failed(guest: GuestStatus) -> bool:
    """Return True if a guest failed, was killed, or waits for another start after that."""
    return guest.state in _FAILED_STATES


def outcome_failures(outcomes: Sequence[GuestOutcome]) -> list[Failure]:
    """Return the guests of a finished run that failed."""
    return [Failure(outcome.name, _how_ended(outcome), outcome.log) for outcome in outcomes if outcome.exit_status]


def status_failures(guests: Sequence[GuestStatus]) -> list[Failure]:
    """Return guests of a running system, all of which failed."""
    return [Failure(guest.name, _how(guest), guest.reason or "") for guest in guests]


def failure_reasons(failures: Sequence[Failure]) -> Iterator[Note]:
    """Yield a note for each reason that more guests failed for than are shown one by one, the most frequent first."""
    names: dict[str, list[str]] = {}
    for failure in failures:
        reason = (failure.log.splitlines() or [""])[-1].removeprefix(f"{failure.name}: ")
        names.setdefault(reason, []).append(failure.name)
    for reason, failed in sorted(names.items(), key=lambda item: -len(item[1]))[:_SHOWN]:
        if reason and len(failed) > _SHOWN:
            text = f"{fmt_count(len(failed), 'guest')} for the same reason: {reason}"
            yield Note(text, _LABEL, "bad", _INDENT)


def failure_notes(failures: Sequence[Failure], *, show_all: bool, more: str) -> Iterator[Note]:
    """Yield a note for each failed guest, the first few without `show_all`; `more` says where to find the others."""
    shown = failures if show_all else failures[:_SHOWN]
    for failure in shown:
        details = tuple(failure.log.splitlines()[-_LOG_LINES:])
        yield Note(f"{failure.name}: {failure.how}", _LABEL, "bad", _INDENT, details=details)
    rest = len(failures) - len(shown)
    if rest:
        yield Note(f"and {fmt_count(rest, 'more guest')}{more}", indent=_INDENT)


def _how_ended(outcome: GuestOutcome) -> str:
    if not outcome.seconds:
        return "did not run"
    return f"{how_ended(outcome.exit_status)} after {fmt_seconds(outcome.seconds)}"


def _how(guest: GuestStatus) -> str:
    killed = guest.exit_status is not None and guest.exit_status < 0
    how = "was killed" if killed else f"failed with status {guest.exit_status}"
    if guest.state == "restarting":
        how += f", and is started again after {fmt_count(guest.restarts - 1, 'restart')}"
    return how
