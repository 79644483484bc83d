"""examine: one pass over a system's processes, for the claims about sharing, for the accounts, or for both."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from dcss.account.accounts import Accounts
from dcss.account.frames import hidden_because
from dcss.account.scan import ended_processes_named, hold_system, not_held, scan
from dcss.account.targets import AccountQuestion, SystemTarget
from dcss.host.provenance import provenance
from dcss.results import Claim, MeasureResult, VerifyResult
from dcss.verify.cache import ContentCache
from dcss.verify.claims import baselines, books_close, no_copies, one_frame, protection
from dcss.verify.evidence import EvidenceFile
from dcss.verify.files import file_proofs, file_tallies
from dcss.verify.search.system_search import search_system
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import Snapshot, SnapshotBuilder
from dcss.verify.verdict import verdict_of

_LOOKS = 3
_SETTLE_SECONDS = 0.02


class _Seen(NamedTuple):
    """What was judged while all guests stood still, and which of them did not."""

    snapshot: Snapshot
    one_frame: Claim
    books_close: Claim
    limits: list[str]


def examine(
    system: SystemTarget,
    accounts: AccountQuestion | None = None,
    *,
    evidence_path: Path | None = None,
    cache: ContentCache | None = None,
    on_guest: Callable[[], None] = lambda: None,
) -> tuple[VerifyResult, MeasureResult | None]:
    """Judge every claim about `system`, and account for its guests if asked; must run in CP's own process.

    All guests are held still while page tables are read, then each while its memory is searched. `evidence_path` takes
    what was seen; `on_guest` is called after each guest that was searched. Any thread may call it, one at a time.
    Raises LaunchError where a process of the system ends meanwhile, MeasurementDeniedError where CP's own books are
    closed.
    """
    if system.cp_pid != os.getpid():
        raise ValueError(f"system {system.name}: found CP in process {system.cp_pid}, wanted it to be {os.getpid()}")
    started = time.thread_time()
    hidden = hidden_because()
    frames = hidden is None
    books = None if accounts is None else Accounts(system, accounts[0], accounts[1], hidden=hidden)
    with ended_processes_named(system), ExitStack() as stack:
        evidence: EvidenceFile | None = None
        if evidence_path is not None:
            evidence = stack.enter_context(EvidenceFile(evidence_path, system, frames=frames))
        seen = _read_page_tables(system, books, evidence, frames=frames)
        claims = _judge_all(system, seen, evidence, cache or ContentCache(), on_guest)
        limits = [*([hidden] if hidden is not None else []), *seen.limits]
        result = _result(system, seen.snapshot, claims, limits, started)
        if evidence is not None:
            evidence.finish(result)
    account = None
    if books is not None and accounts is not None:
        account = books.result(limits, accounts.free_before_bytes)
    return result, account


def verify(
    system: SystemTarget, *, evidence_path: Path | None = None, cache: ContentCache | None = None
) -> VerifyResult:
    """Judge every claim about `system`, as `examine` does."""
    return examine(system, evidence_path=evidence_path, cache=cache)[0]


def _read_page_tables(
    system: SystemTarget, books: Accounts | None, evidence: EvidenceFile | None, *, frames: bool
) -> _Seen:
    segments = [SegmentView.of(segment) for segment in system.segments]
    with hold_system(system) as hold:
        for look in range(_LOOKS):
            # Guests stand still, but the kernel may reclaim or migrate pages, and CP's own are present again by now.
            time.sleep(_SETTLE_SECONDS * look)
            builder = SnapshotBuilder(system, segments, frames=frames, evidence=evidence)
            scan(system, [builder] if books is None or look else [builder, books])
            seen = _Seen(
                builder.snapshot,
                one_frame.judge(builder.snapshot),
                books_close.judge(builder.snapshot),
                not_held(system, hold),
            )
            if books is not None and not look:
                books.count_own_frames()
            if seen.one_frame.holds is not False and seen.books_close.holds is not False:
                break
    return seen


def _judge_all(
    system: SystemTarget, seen: _Seen, evidence: EvidenceFile | None, cache: ContentCache, on_guest: Callable[[], None]
) -> tuple[Claim, ...]:
    snapshot = seen.snapshot
    objects = frozenset(segment.object for segment in snapshot.segments)
    record = _ignore if evidence is None else evidence.add
    searcher = cache.searcher(snapshot.segments)
    snapshot.search = search_system(system, objects, searcher, record, frames=snapshot.frames, on_guest=on_guest)
    copies, protected, copied = (claim.judge(snapshot) for claim in (no_copies, protection, baselines))
    assert copies is not None and protected is not None
    claims = (seen.one_frame, copies, seen.books_close, protected)
    return claims if copied is None else (*claims, copied)


def _ignore(*_: object, **__: object) -> None:
    pass


def _result(
    system: SystemTarget, snapshot: Snapshot, claims: tuple[Claim, ...], limits: list[str], started: float
) -> VerifyResult:
    files = file_proofs(snapshot, file_tallies(snapshot))
    guests = snapshot.search.guests.values()
    closed = [reason for guest in guests for reason in (*guest.kernel_held, *guest.closed_descriptors)]
    return VerifyResult(
        system.name,
        verdict_of(claims, guests=len(snapshot.guests)),
        "frames" if snapshot.frames else "mappings",
        claims,
        tuple(files),
        tuple(dict.fromkeys([*limits, *_damage(system), *closed])),
        time.thread_time() - started,
        provenance=provenance(),
    )


def _damage(system: SystemTarget) -> list[str]:
    """Say which files of the segments' images could not be read: the list of files lacks them, in part or whole."""
    return [f"segment {segment.name}: {damage}" for segment in system.segments for damage in segment.damage]
