"""inspect: the claims about sharing and the accounts, for processes that nobody here started and that run on."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dcss.abi.page import PAGE_SIZE
from dcss.account.frames import hidden_because
from dcss.account.proc import ProcessGoneError
from dcss.errors import LaunchError
from dcss.host.file_questions import FileQuestions
from dcss.host.provenance import provenance
from dcss.inspect.common import read_all_maps
from dcss.inspect.findings import inspected_objects, inspected_processes
from dcss.inspect.hints import read_ahead_hints
from dcss.inspect.looks import PageLook, PageTables, until_two_agree
from dcss.inspect.processes import NamedProcesses
from dcss.inspect.selection import IN_COMMON, Chosen, Selection, Wanted, select
from dcss.inspect.target import system_of
from dcss.results import Claim, InspectResult, VerifyResult
from dcss.verify.claims import baselines, no_copies, protection
from dcss.verify.evidence import EvidenceFile
from dcss.verify.files import file_proofs, file_tallies
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.results import SearchResult
from dcss.verify.search.searcher import Searcher
from dcss.verify.search.system_search import search_system
from dcss.verify.verdict import verdict_of
from dcss.verify.wording import count, first_few

_NOBODY_STARTED: Final = "these processes are nobody's guests: what they may write is their own affair"
_OTHERS_MOVE: Final = "the kernel counts other mappings than were found: of processes that are hidden, or come and go"
_NO_BASELINE: Final = "no process is expected to copy"

_Records = list[tuple[str, dict[str, Any]]]


def inspect(pids: Sequence[int], wanted: Wanted = IN_COMMON, *, evidence_path: Path | None = None) -> InspectResult:
    """Judge what processes share, and account for them; nothing is stopped, so two looks must agree.

    Raises ConfigError where a process or an object is not there, LaunchError where a process ends meanwhile.
    """
    with NamedProcesses(pids) as processes:
        return inspect_processes(processes, wanted, evidence_path=evidence_path)


def inspect_processes(
    processes: NamedProcesses, wanted: Wanted = IN_COMMON, *, evidence_path: Path | None = None
) -> InspectResult:
    """Do the same for processes that were found already: looked at again and again, they stay the same ones."""
    started = time.thread_time()
    processes.check_alive()
    with FileQuestions() as questions, ExitStack() as stack:
        try:
            selection = select(read_all_maps(processes.all), wanted, questions, stack)
            return _Inspection(processes, selection, stack).result(evidence_path, started)
        except ProcessGoneError as error:
            processes.check_alive()
            raise LaunchError(f"process {error.pid} ended while it was looked at") from error


class _Inspection:
    def __init__(self, processes: NamedProcesses, selection: Selection, stack: ExitStack) -> None:
        self._processes, self._selection, self._stack = processes, selection, stack
        self._hidden = hidden_because()

    def result(self, evidence_path: Path | None, started: float) -> InspectResult:
        """Look, judge, and account."""
        evidence = self._evidence(evidence_path)
        chosen = self._selection.chosen
        states = [_state_of(each) for each in chosen]
        tables = PageTables(self._processes.all, chosen, evidence, self._hidden, named=self._selection.named)
        measured = tables.account().result(self._limits(), None)
        look, agreed = until_two_agree(tables.look, PageLook.facts)
        one_frame = look.one_frame if agreed else _disagreed(look.one_frame)
        copies, search = self._search(look, evidence)
        self._processes.check_alive()
        changed = [
            f"{each.label} changed while it was looked at"
            for each, state in zip(chosen, states, strict=True)
            if _state_of(each) != state
        ]
        claims = (
            _settled(one_frame, self._unread(), seen=look.wrong_pages > 0),
            _settled(copies, [*self._unread(), *changed], seen=True),
            _listed(look),
            Claim(protection.NAME, None, _NOBODY_STARTED, applies=False),
            Claim(baselines.NAME, None, _NO_BASELINE, applies=False),
        )
        look.snapshot.search = search
        verify = self._verify_result(look, claims, [*self._limits(), *changed], started)
        if evidence is not None:
            for claim in (each for each in claims[:2] if each.holds is None):
                evidence.add("open", claim=claim.claim, reason=claim.detail)
            evidence.finish(verify)
        return InspectResult(
            verify, measured, inspected_objects(look, self._selection), inspected_processes(look, measured)
        )

    def _evidence(self, path: Path | None) -> EvidenceFile | None:
        if path is None:
            return None
        system = system_of(self._processes.all, [], [], named=self._selection.named)
        return self._stack.enter_context(EvidenceFile(path, system, frames=self._hidden is None))

    def _limits(self) -> list[str]:
        hidden = [] if self._hidden is None else [self._hidden]
        passed_over = [f"{label} was not looked at: {why}" for label, why in self._selection.passed_over.items()]
        return [*hidden, *passed_over, *self._unread()]

    def _unread(self) -> list[str]:
        """Say what could not be read: memory of processes, and objects."""
        return [f"{label} cannot be read: {why}" for label, why in self._selection.unread.items()]

    def _search(self, look: PageLook, evidence: EvidenceFile | None) -> tuple[Claim, SearchResult]:
        """Search the processes' memory until two searches agree; return the claim about copies, and what was found."""
        snapshot = look.snapshot
        searcher = Searcher(Contents.of(snapshot.segments))
        objects = frozenset(segment.object for segment in snapshot.segments)

        def search() -> tuple[Claim, SearchResult, _Records]:
            records: _Records = []
            snapshot.search = search_system(
                look.system,
                objects,
                searcher,
                lambda name, **fields: records.append((name, fields)),
                frames=snapshot.frames,
            )
            return no_copies.judge(snapshot), snapshot.search, records

        (claim, found, records), agreed = until_two_agree(search, _copies_found)
        for name, fields in records if evidence is not None else ():
            assert evidence is not None
            evidence.add(name, **fields)
        return (claim if agreed else _disagreed(claim)), found

    def _verify_result(
        self, look: PageLook, claims: tuple[Claim, ...], limits: list[str], started: float
    ) -> VerifyResult:
        found = look.snapshot.search.guests.values()
        closed = [reason for each in found for reason in (*each.kernel_held, *each.closed_descriptors)]
        used = [(segment.target.resident_bytes or 0) // PAGE_SIZE for segment in look.snapshot.segments]
        refuted = any(claim.holds is False for claim in claims)
        return VerifyResult(
            look.system.name,
            verdict_of(claims, guests=len(look.snapshot.guests)),
            "frames" if look.snapshot.frames else "mappings",
            claims,
            tuple(file_proofs(look.snapshot, file_tallies(look.snapshot))),
            tuple(dict.fromkeys([*limits, *closed])),
            time.thread_time() - started,
            read_ahead_hints(self._selection.chosen, look.snapshot.search, used) if refuted else (),
            provenance=provenance(),
        )


def _copies_found(search: tuple[Claim, SearchResult, _Records]) -> tuple[object, ...]:
    """Return what two searches must agree about: the judgement, and of which file who holds copies."""
    claim, found, _ = search
    held = {(copy.holder, copy.path) for each in found.guests.values() for copy in each.copies}
    return claim.holds, held


def _settled(claim: Claim, open_because: Sequence[str], *, seen: bool) -> Claim:
    """Leave a claim open where not all could be read; a refutation stays if it rests on what was `seen`."""
    if open_because and not (claim.holds is False and seen):
        return replace(claim, holds=None, detail=first_few(open_because))
    return claim


def _disagreed(claim: Claim) -> Claim:
    return replace(claim, holds=None, detail=f"two looks did not see the same; the last: {claim.detail}")


def _listed(look: PageLook) -> Claim:
    """Return the claim about who else maps the objects: others are listed, and refute nothing."""
    claim = look.books_close
    named = {pid: name for found in look.others.values() for pid, name in found.items()}
    others = first_few([f"{pid} ({name})" for pid, name in sorted(named.items())])
    also = f"; besides those named, {count(len(named), 'process', 'processes')}: {others}" if named else ""
    if claim.holds is True:
        return replace(claim, detail=claim.detail + also)
    why = claim.detail if claim.holds is None else _OTHERS_MOVE
    return replace(claim, holds=None, applies=False, detail=f"{why}{also}")


def _state_of(chosen: Chosen) -> tuple[int, int]:
    """Return what shows that content was changed: the size, and the time unless the processes write all the time."""
    status = os.fstat(chosen.opened.descriptor)
    return status.st_size, 0 if chosen.written else status.st_mtime_ns
