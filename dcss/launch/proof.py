"""A running system's proof and account, computed in CP's own process."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dcss.launch.subjects import guest_books, segment_users, subject_of
from dcss.launch.trim import give_back_free_memory
from dcss.report.results import MeasureResult, VerifyResult

if TYPE_CHECKING:
    from dcss.launch.system import System


def verify_system(system: "System", evidence_path: Path | None = None) -> VerifyResult:
    """Judge the claims about the guests that live. Raises LaunchError where one of them ends meanwhile."""
    from dcss.verify.verdict import verify

    try:
        return verify(subject_of(system), evidence_path=evidence_path)
    finally:
        give_back_free_memory()  # otherwise CP keeps tens of MB of page tables' copies until its end


def measure_system(system: "System", limits: Iterable[str] = ()) -> MeasureResult:
    """Return what the guests cost that have told their own books; `limits` say what the caller could not see.

    Guests that have not are left out, and named in the result's limits. Raises LaunchError where one ends meanwhile.
    """
    from dcss.account.guests import measure

    subject, books = subject_of(system), guest_books(system)
    silent = [guest.name for guest in subject.guests if guest.name not in books]
    subject = replace(subject, guests=tuple(guest for guest in subject.guests if guest.name in books))
    result = measure(
        subject,
        books,
        segment_users(system),
        free_before_bytes=system.free_before_bytes,
    )
    told = [*limits, *(f"guest {name}: still in its `run:` list, and not measured" for name in silent)]
    return replace(result, limits=(*result.limits, *told)) if told else result
