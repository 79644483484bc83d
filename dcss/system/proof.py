"""A running system's proof and account, computed in CP's own process."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dcss.account.targets import SystemTarget
from dcss.host.libc import give_back_free_memory
from dcss.results import MeasureResult, VerifyResult
from dcss.system.targets import guest_counters, segment_users, target_of

if TYPE_CHECKING:
    from dcss.system.system import System


def verify_system(system: "System", evidence_path: Path | None = None) -> VerifyResult:
    """Judge the claims about the guests that live. Raises LaunchError where one of them ends meanwhile."""
    from dcss.verify.examine import verify

    try:
        return verify(target_of(system), evidence_path=evidence_path)
    finally:
        give_back_free_memory()  # otherwise CP keeps tens of MB of page tables' copies until its end


def examine_system(system: "System", evidence_path: Path | None = None) -> tuple[VerifyResult, MeasureResult]:
    """Judge the claims and account for all guests in one pass. Raises LaunchError where a guest ends meanwhile."""
    from dcss.verify.examine import AccountQuestion, examine

    question = AccountQuestion(guest_counters(system), segment_users(system), system.free_before_bytes)
    target = target_of(system)
    try:
        verdict, account = examine(target, question, evidence_path=evidence_path)
    finally:
        give_back_free_memory()
    assert account is not None
    return verdict, _with_unmeasured(account, target, ())


def measure_system(system: "System", limits: Iterable[str] = ()) -> MeasureResult:
    """Return what the guests cost that have told their own books; `limits` say what the caller could not see.

    Guests that have not are left out, and named in the result's limits. Raises LaunchError where one ends meanwhile.
    """
    from dcss.account.accounts import measure

    target, books = target_of(system), guest_counters(system)
    result = measure(
        replace(target, guests=tuple(guest for guest in target.guests if guest.name in books)),
        books,
        segment_users(system),
        free_before_bytes=system.free_before_bytes,
    )
    return _with_unmeasured(result, target, limits)


def _with_unmeasured(result: MeasureResult, target: SystemTarget, limits: Iterable[str]) -> MeasureResult:
    """Add `limits`, and one for each guest that was not measured, since it has not sent its counters yet."""
    measured = {account.name for account in result.guests}
    missing = [guest.name for guest in target.guests if guest.name not in measured]
    added = [*limits, *(f"guest {name}: still in its `run:` list, and not measured" for name in missing)]
    return replace(result, limits=(*result.limits, *added)) if added else result
