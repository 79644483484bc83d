"""Compute a verdict again from the records of an evidence file, on any machine, at any time."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dcss.errors import ConfigError
from dcss.results import Claim, VerifyResult
from dcss.verify.claims import books_close, no_copies, one_frame
from dcss.verify.files import file_proofs, file_tallies
from dcss.verify.recorded import RecordedSystem
from dcss.verify.verdict import verdict_of
from dcss.verify.wording import count, first_few


def recompute(records: Iterable[Mapping[str, Any]]) -> VerifyResult:
    """Return the verdict that follows from the records.

    Claims that rest on what is not in the file are as they were recorded; `limits` names them. Raises ConfigError where
    records are missing.
    """
    system = RecordedSystem()
    for record in records:
        system.take(record)
    if system.verdict is None:
        raise ConfigError("evidence: found no verdict at its end, wanted a complete file")
    snapshot = system.snapshot
    recorded = tuple(Claim(each["claim"], each["holds"], each["detail"], each["applies"]) for each in system.claims)
    computed = {
        one_frame.NAME: one_frame.judge(snapshot),
        no_copies.NAME: _no_copies(system, recorded),
        books_close.NAME: _books_close(system),
    }
    # What was left open for a reason that no record has is not proved by the others.
    computed |= {
        claim.claim: claim
        for claim in recorded
        if claim.holds is None and (again := computed.get(claim.claim)) is not None and again.holds
    }
    computed |= {name: Claim(name, None, reason) for name, reason in system.open.items()}
    claims = tuple(computed.get(claim.claim) or claim for claim in recorded)
    kept = [claim.claim for claim in claims if claim in recorded and computed.get(claim.claim) is None]
    limits = [*system.verdict["limits"]]
    if kept:
        limits.append(f"{', '.join(kept)}: as recorded, since the evidence does not have all that they rest on")
    return VerifyResult(
        system.name,
        verdict_of(claims, guests=len(snapshot.guests)),
        "frames" if system.frames else "mappings",
        claims,
        tuple(file_proofs(snapshot, file_tallies(snapshot))),
        tuple(limits),
    )


def _no_copies(system: RecordedSystem, recorded: tuple[Claim, ...]) -> Claim | None:
    """Judge the copies that were found. None where none refutes: whether all was searched is as recorded."""
    sharing = {guest.target.name for guest in system.snapshot.sharing}
    baselines = {guest.target.name for guest in system.snapshot.guests} - sharing
    own = no_copies.Buffers.of(system.snapshot)
    refuting = [
        f"{copy['holder']}: {count(copy['pages'], 'page')} of {copy['segment']}:{copy['path']} in {copy['where']}"
        for copy in system.copies
        if copy["origin"] in no_copies.REFUTING
        and not own.hold(copy["holder"], copy["segment"], copy["path"])
        and copy["holder"].removeprefix("guest ") not in baselines
    ]
    if sharing and refuting:
        return Claim(no_copies.NAME, False, first_few(refuting))
    claimed = next((claim for claim in recorded if claim.claim == no_copies.NAME), None)
    if claimed is not None and claimed.holds is False:
        return Claim(no_copies.NAME, None, "recorded as refuted, but the evidence has no copy that refutes it")
    unsearched = sharing - system.searched
    if claimed is not None and claimed.holds and unsearched:
        names = first_few([f"guest {name}" for name in sorted(unsearched)])
        return Claim(no_copies.NAME, None, f"the evidence has no search of {names}")
    return None


def _books_close(system: RecordedSystem) -> Claim | None:
    """Compare the entries that were found with what the kernel counted. None where frames were not shown."""
    snapshot = system.snapshot
    if not system.frames or not snapshot.segments or snapshot.denied:
        return None
    findings = []
    for segment, cp_entries, ours, counted in zip(
        snapshot.segments, snapshot.cp_entries, snapshot.pte_counts, system.map_counts, strict=True
    ):
        if counted is None:
            return None
        differing = int(np.count_nonzero(np.where(cp_entries != 0, counted, 0) != ours))
        if differing:
            findings.append(
                f"segment {segment.name}: {count(differing, 'page')} mapped more or less often than counted"
            )
    if findings and any(guest.target.standalone for guest in snapshot.guests):
        return None  # others may map what is somebody else's
    if findings:
        return Claim(books_close.NAME, False, first_few(findings))
    entries = sum(int(ours.sum()) for ours in snapshot.pte_counts)
    detail = f"{count(entries, 'page-table entry', 'page-table entries')}: as many as /proc/kpagecount had"
    return Claim(books_close.NAME, True, detail)
