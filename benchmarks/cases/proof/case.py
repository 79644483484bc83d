"""CPU of each claim for a hundred guests that share 100 MiB, beside merely reading the same files of /proc.

Guests are bare processes that map every library at user level, and write some 2 MiB of Python objects of their own. The
floor is reading alone: the same pagemaps by one call a guest, and the same private pages by one call a run.
"""

import os
import resource
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from benchmarks.cases.proof.system import system
from benchmarks.framework.kernel_books import MIB, PAGE_BYTES
from benchmarks.framework.libraries import library_image
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, compare
from benchmarks.framework.session import Session
from dcss.account.pagemap import frames_of, is_file, runs_of
from dcss.account.scan import hold_system, scan
from dcss.account.space import ProcessPages
from dcss.account.targets import SystemTarget
from dcss.results import Claim
from dcss.verify.cache import ContentCache
from dcss.verify.claims import books_close, no_copies, one_frame, protection
from dcss.verify.examine import verify
from dcss.verify.search.results import SearchResult
from dcss.verify.search.system_search import search_system
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import GuestView, Snapshot, SnapshotBuilder

FLOOR = "reading alone"
_LOOKS = 3
T = TypeVar("T")


def run(session: Session) -> list[Row]:
    """Measure the parts of a proof."""
    guests = session.pick(quick=20, full=100)
    with session.directory("proof") as directory:
        image = library_image(session, directory, session.pick(quick=32, full=100) * MIB)
        with system(session, image.tree / "usr/lib", guests) as target:
            subjects = {"dcss": lambda: one_round(target)}
            return compare("proof", _specs(guests), subjects, rounds=session.pick(quick=3, full=5))


def _specs(guests: int) -> list[RowSpec]:
    of = f"CPU for {guests} guests"
    return [
        RowSpec("page tables", "s", "cpu", f"{of}: looking at all processes; alone: one pagemap read for each guest"),
        RowSpec("claim 1, one-frame-per-page", "s", "cpu", f"{of}, when page tables have been read"),
        RowSpec("claim 2, no-hidden-copies", "s", "cpu", f"{of}; alone: each private page read once"),
        RowSpec("claim 3, books-close", "s", "cpu", f"{of}, when page tables have been read"),
        RowSpec("claim 4, protection-holds", "s", "cpu", f"{of}, the digest of the segment included"),
        RowSpec("verify, the whole", "s", "cpu", f"{of}; alone: the sum of both"),
    ]


def one_round(target: SystemTarget) -> Sample:
    """Return CPU seconds of each part of verify, made as verify makes them, and of reading alone.

    One look may meet pages that the kernel moves at that moment: then it is taken again, as verify does.
    """
    for _ in range(_LOOKS):
        found, refuted = _measured(target)
        if not refuted:
            return found
    raise RuntimeError(f"found {refuted} in {_LOOKS} looks, wanted every claim to hold")


def _measured(target: SystemTarget) -> tuple[Sample, list[Claim]]:
    """Return what `one_round` does, and the claims that do not hold."""
    found: dict[str | tuple[str, str], float] = {}

    def timed(key: str | tuple[str, str], call: Callable[[], T]) -> T:
        began = _cpu_seconds()
        result = call()
        found[key] = _cpu_seconds() - began
        return result

    segments = [SegmentView.of(segment) for segment in target.segments]
    snapshot = timed("page tables", lambda: _look(target, segments))
    snapshot.search = timed("claim 2, no-hidden-copies", lambda: _search(target, segments))
    claims = [
        timed("claim 1, one-frame-per-page", lambda: one_frame.judge(snapshot)),
        timed("claim 3, books-close", lambda: books_close.judge(snapshot)),
        timed("claim 4, protection-holds", lambda: protection.judge(snapshot)),
        no_copies.judge(snapshot),
    ]
    timed((FLOOR, "page tables"), lambda: [_read_pagemap(guest) for guest in snapshot.guests])
    timed((FLOOR, "claim 2, no-hidden-copies"), lambda: _read_private(target))
    found[FLOOR, "verify, the whole"] = found[FLOOR, "page tables"] + found[FLOOR, "claim 2, no-hidden-copies"]
    result = timed("verify, the whole", lambda: verify(target))
    return found, [claim for claim in (*claims, *result.claims) if claim is not None and not claim.holds]


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _look(target: SystemTarget, segments: list[SegmentView]) -> Snapshot:
    with hold_system(target):
        builder = SnapshotBuilder(target, segments, frames=True, evidence=None)
        scan(target, [builder])
    return builder.snapshot


def _search(target: SystemTarget, segments: list[SegmentView]) -> SearchResult:
    objects = frozenset(segment.object for segment in segments)
    searcher = ContentCache().searcher(segments)
    return search_system(target, objects, searcher, lambda *_, **__: None, frames=True)


def _read_pagemap(guest: GuestView) -> int:
    start = guest.target.user_area.start // PAGE_BYTES
    pages = int(sum(segment.mapped.sum() for segment in guest.segments)) + 2000
    descriptor = os.open(f"/proc/{guest.pids[0]}/pagemap", os.O_RDONLY)
    try:
        return len(os.pread(descriptor, pages * 8, start * 8))
    finally:
        os.close(descriptor)


def _read_private(target: SystemTarget) -> None:
    """Read each private frame once, a call a run, into one buffer."""
    seen = np.zeros(0, np.uint64)
    buffer = memoryview(bytearray(64 * MIB))
    for pid in (*target.other_pids, *(guest.pids[0] for guest in target.guests)):
        space = ProcessPages.read(pid)
        frames = frames_of(space.entries)
        fresh = ~is_file(space.entries)
        if len(seen):
            fresh &= seen[np.minimum(np.searchsorted(seen, frames), len(seen) - 1)] != frames
        seen = np.concatenate((seen, frames[fresh]))
        seen.sort(kind="stable")
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        for first, count in runs_of(space.pages[fresh]):
            try:
                os.preadv(descriptor, [buffer[: count * PAGE_BYTES]], first * PAGE_BYTES)
            except OSError:
                continue  # the kernel's own mappings
        os.close(descriptor)
