"""verify: the claims about sharing, computed from the kernel's books, and the verdict."""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dcss.account.frames import hidden_because
from dcss.account.proc import ProcessGoneError
from dcss.account.space import AddressSpace
from dcss.account.targets import GuestTarget, SystemTarget
from dcss.errors import LaunchError, MeasurementDeniedError
from dcss.results import Claim, VerifyResult
from dcss.verify.backing import Backings
from dcss.verify.claims.baselines import judge_baselines
from dcss.verify.claims.books_close import judge_books
from dcss.verify.claims.no_copies import Process, judge_no_copies
from dcss.verify.claims.one_frame import judge_one_frame
from dcss.verify.claims.protection import judge_protection
from dcss.verify.descriptors import OpenFile, open_files
from dcss.verify.evidence import Evidence
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.process_memory import Searchable, search_processes
from dcss.verify.search.searcher import Searcher
from dcss.verify.search.shared_objects import Collector, Reachable, host_files
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import GuestView, Observer, Snapshot

_LOOKS = 3
_SETTLE_SECONDS = 0.02


def verify(system: SystemTarget, *, evidence_path: Path | None = None) -> VerifyResult:
    """Judge every claim about `system` and return the verdict; must run in CP's own process.

    The verdict is `verified` if no claim is refuted and claim 1 holds. `evidence_path` takes what was seen. Raises
    LaunchError where a process of the system ends meanwhile, MeasurementDeniedError where CP's own books are closed.
    """
    if system.cp_pid != os.getpid():
        raise ValueError(f"system {system.name}: found CP in process {system.cp_pid}, wanted it to be {os.getpid()}")
    try:
        return _verify(system, evidence_path)
    except ProcessGoneError as error:
        owners = [f"guest {guest.name}" for guest in system.guests if error.pid in guest.pids]
        raise LaunchError(f"{owners[0] if owners else f'system {system.name}'}: {error}") from error


def _verify(system: SystemTarget, evidence_path: Path | None) -> VerifyResult:
    started = _cpu_seconds()
    hidden = hidden_because()
    frames = hidden is None
    segments = [SegmentView.of(segment) for segment in system.segments]
    evidence = None if evidence_path is None else Evidence(system, frames=frames)
    observer = Observer(system, segments, frames=frames)
    for look in range(_LOOKS):
        # Reclaim, migration or a guest at work: a page may be away for a moment.
        time.sleep(_SETTLE_SECONDS * look)
        snapshot = observer.look(evidence)
        one_frame, files = judge_one_frame(snapshot, segments, frames=frames)
        books = judge_books(snapshot, segments, frames=frames)
        if one_frame.holds is not False and books.holds is not False:
            break
    sharing = [guest for guest in snapshot.guests if guest.target.expect == "shared"]
    opened, closed = open_descriptors(snapshot)
    no_copies, *baselines = search_memory(snapshot, sharing, segments, opened, evidence, frames=frames)
    if no_copies.holds and closed:
        # Shared memory may be held open without being mapped.
        no_copies = Claim(no_copies.claim, None, f"not all descriptors could be seen: {closed[0]}")
    protection = judge_protection(snapshot, segments, opened)
    claims = (one_frame, no_copies, books, protection, *baselines)
    verdict: Literal["verified", "refuted"] = "verified"
    if one_frame.holds is not True or any(claim.holds is False for claim in claims):
        verdict = "refuted"
    limits = dict.fromkeys([*([hidden] if hidden is not None else []), *closed])
    level: Literal["frames", "mappings"] = "frames" if frames else "mappings"
    result = VerifyResult(system.name, verdict, level, claims, tuple(files), tuple(limits), _cpu_seconds() - started)
    if evidence is not None and evidence_path is not None:
        evidence.write(evidence_path, result)
    return result


def search_memory(
    snapshot: Snapshot,
    sharing: list[GuestView],
    segments: list[SegmentView],
    opened: dict[str, list[OpenFile]],
    evidence: Evidence | None,
    *,
    frames: bool,
) -> list[Claim]:
    """Search the memory of all guests and the fork server; judge claim 2 and, where there are baselines, claim 5."""
    backings = Backings()
    objects = {segment.object for segment in segments}
    searcher = Searcher(Contents.of(segments))
    # The fork server first: what guests inherited is then found there, and searched once.
    owned: list[tuple[GuestTarget | None, AddressSpace]] = [(None, space) for space in snapshot.other_spaces]
    owned += [(guest.target, space) for guest in snapshot.guests for space in guest.spaces]
    searched = [
        Searchable.of(space, objects, backings, shared=guest is not None and guest.expect == "copies")
        for guest, space in owned
    ]
    processes = [
        Process(guest, one, found)
        for (guest, _), one, found in zip(owned, searched, search_processes(searcher, searched), strict=True)
    ]
    reachable = _reachable(snapshot, sharing, objects, opened, backings)
    own = [process for process in processes if process.guest is None or process.guest.expect == "shared"]
    no_copies, copies = judge_no_copies(searcher, sharing, own, reachable)
    if evidence is not None:
        for process in processes:
            role = "other" if process.guest is None else process.guest.name
            evidence.add("search", pid=process.searched.space.pid, role=role, pages=len(process.searched.pages))
        for copy in copies:
            evidence.add("copy", **copy._asdict())
    baselines = [guest for guest in snapshot.guests if guest.target.expect == "copies"]
    if not baselines:
        return [no_copies]
    return [no_copies, judge_baselines(searcher.contents, baselines, processes, frames=frames)]


def _reachable(
    snapshot: Snapshot,
    sharing: list[GuestView],
    objects: set[tuple[int, int]],
    opened: dict[str, list[OpenFile]],
    backings: Backings,
) -> Sequence[Reachable]:
    collector = Collector(objects, host_files(snapshot.other_spaces), backings)
    for guest in sharing:
        for space in guest.spaces:
            collector.add_space(guest.target.name, space)
        for file in opened[guest.target.name]:
            collector.add_file(guest.target.name, file)
    return list(collector.found.values())


def open_descriptors(snapshot: Snapshot) -> tuple[dict[str, list[OpenFile]], list[str]]:
    """Return each guest's open files, and why some could not be seen."""
    opened: dict[str, list[OpenFile]] = {}
    closed: list[str] = []
    for guest in snapshot.guests:
        opened[guest.target.name] = []
        for space in guest.spaces:
            try:
                opened[guest.target.name] += open_files(space.pid)
            except MeasurementDeniedError as error:
                closed.append(f"guest {guest.target.name}: {error}")
    return opened, closed


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
