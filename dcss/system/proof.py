"""A running system's proof and account, computed in CP's own process."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dcss.host.libc import give_back_free_memory
from dcss.results import MeasureResult, VerifyResult
from dcss.system.targets import guest_counters, segment_users, target_of

if TYPE_CHECKING:
    from dcss.system.system import System


def verify_system(system: "System", evidence_path: Path | None = None) -> VerifyResult:
    """Judge the claims about the guests that live. Raises LaunchError where one of them ends meanwhile."""
    from dcss.verify.verdict import verify

    try:
        return verify(target_of(system), evidence_path=evidence_path)
    finally:
        give_back_free_memory()  # otherwise CP keeps tens of MB of page tables' copies until its end


def measure_system(system: "System", limits: Iterable[str] = ()) -> MeasureResult:
    """Return what the guests cost that have told their own books; `limits` say what the caller could not see.

    Guests that have not are left out, and named in the result's limits. Raises LaunchError where one ends meanwhile.
    """
    from dcss.account.guests import measure

    target, books = target_of(system), guest_counters(system)
    silent = [guest.name for guest in target.guests if guest.name not in books]
    target = replace(target, guests=tuple(guest for guest in target.guests if guest.name in books))
    result = measure(
        target,
        books,
        segment_users(system),
        free_before_bytes=system.free_before_bytes,
    )
    told = [*limits, *(f"guest {name}: still in its `run:` list, and not measured" for name in silent)]
    return replace(result, limits=(*result.limits, *told)) if told else result
