"""Search the memory of a whole system: the fork server first, then each guest while it is held still."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.frames import are_merged, map_counts
from dcss.account.hold import Hold
from dcss.account.pagemap import Entries, Flags, Pagemap, Pages, frames_of, is_exclusive
from dcss.account.proc import ProcessGoneError
from dcss.account.scan import processes_of
from dcss.account.space import ProcessPages
from dcss.account.targets import GuestTarget, Object, SystemTarget
from dcss.errors import MeasurementDeniedError
from dcss.host.file_questions import FileQuestions
from dcss.verify.backing import Backings
from dcss.verify.descriptors import descriptor_numbers, open_files
from dcss.verify.kernel_held import kernel_held
from dcss.verify.search.copies import copies_in_detached, copies_in_object, copies_in_process, holder_name
from dcss.verify.search.process_memory import ProcessSearch, Searchable
from dcss.verify.search.program_files import ProgramFiles
from dcss.verify.search.results import BaselineFindings, MemoryFindings, SearchResult
from dcss.verify.search.searcher import Found, Hits, Searcher
from dcss.verify.search.shared_objects import ObjectSearch, host_files
from dcss.verify.search.system_v import detached_segments, search_detached
from dcss.verify.wording import count

Record = Callable[..., None]  # takes a record's name and its fields
_LOOKS = 5  # at a page that moves while it is looked at


def search_system(
    system: SystemTarget,
    objects: frozenset[Object],
    searcher: Searcher,
    record: Record,
    *,
    frames: bool,
    on_guest: Callable[[], None] = lambda: None,
) -> SearchResult:
    """Search all processes of `system` but CP for the contents that `searcher` knows.

    `objects` are the segments', `frames` says whether frame numbers are shown, `record` is told what was searched and
    found, `on_guest` is called after each guest. Raises ProcessGoneError where one of the processes of `system` has
    ended.
    """
    # Guests inherit pages of the fork server: held still, it need not be read again for each.
    with FileQuestions() as questions, Hold((), alone=system.other_pids):
        spaces = [ProcessPages.read_without(pid, objects) for pid in system.other_pids]
        search_of = _SystemSearch(objects, searcher, record, questions, spaces, frames=frames)
        result = SearchResult(searcher.contents)
        result.others = [search_of.other(space) for space in spaces]
        object_search = ObjectSearch(searcher, objects, host_files(spaces), search_of.backings)
        for guest in system.guests:
            with Hold(guest.pids if system.held else ()):
                result.guests[guest.name] = search_of.guest(guest, object_search)
            on_guest()
    return result


class _SystemSearch:
    def __init__(
        self,
        objects: frozenset[Object],
        searcher: Searcher,
        record: Record,
        questions: FileQuestions,
        servers: Sequence[ProcessPages],
        *,
        frames: bool,
    ) -> None:
        self.backings = Backings(questions)
        self._objects = objects
        self._contents = searcher.contents
        self._searcher = searcher
        self._processes = ProcessSearch(searcher)
        self._program = ProgramFiles(servers, searcher.contents, self.backings)
        self._record = record
        self._frames = frames

    def other(self, space: ProcessPages) -> MemoryFindings:
        """Search a process that is no guest's, and keep it."""
        findings = MemoryFindings()
        process = Searchable.of(space, self._objects, self.backings, shared=False)
        self._search_process(findings, None, process, keep=True)
        return findings

    def guest(self, guest: GuestTarget, object_search: ObjectSearch) -> MemoryFindings:
        """Search a guest's processes, and the shared memory that it reaches."""
        findings = MemoryFindings()
        if guest.expect == "copies":
            nothing = np.zeros(len(self._contents), np.bool_)
            findings.baseline = BaselineFindings(nothing, nothing.copy())
        spaces = self._read(guest, findings)
        processes = [
            Searchable.of(space, self._objects, self.backings, shared=guest.expect == "copies") for space in spaces
        ]
        kept = self._processes.kept
        found: list[tuple[Searchable, Found]] = []
        for process in processes:
            # What its children have in common with it is there until the guest runs again.
            one = self._search_process(findings, guest, process, keep=len(processes) > 1)
            if one is not None:
                found.append((process, one))
        self._processes.drop_to(kept)
        if findings.baseline is not None:
            self._judge_frames(findings.baseline, processes, found)
        if guest.expect == "shared":
            self._search_objects(findings, guest, spaces, object_search)
            self._search_detached(findings, guest, [space.pid for space in spaces])
        return findings

    def _read(self, guest: GuestTarget, findings: MemoryFindings) -> list[ProcessPages]:
        spaces = []
        for pid in processes_of(guest):
            try:
                spaces.append(ProcessPages.read_without(pid, self._objects))
            except MeasurementDeniedError:
                continue  # the snapshot has the reason
            except ProcessGoneError:
                if pid in guest.pids:
                    raise
                continue
            try:
                numbers = descriptor_numbers(pid)
                files, reasons = open_files(pid, numbers, self.backings)
                findings.descriptors += files
                findings.unsearched += [f"{guest.label}: {reason}" for reason in reasons]
                held = kernel_held(pid, numbers)
                findings.kernel_held += [f"{guest.label}: {reason}" for reason in held]
            except MeasurementDeniedError as error:
                findings.closed_descriptors.append(f"{guest.label}: {error}")
        return spaces

    def _search_process(
        self, findings: MemoryFindings, guest: GuestTarget | None, process: Searchable, *, keep: bool
    ) -> Found | None:
        role = "other" if guest is None else guest.name
        self._record("search", pid=process.space.pid, role=role, pages=len(process.pages))
        holder = holder_name(guest)
        try:
            found = self._processes.search(process, keep=keep)
        except MeasurementDeniedError as error:
            findings.denied.append(f"{holder}: {error}")
            return None
        findings.searched_pages += len(process.pages)
        if lost := len(found.unreadable):
            address = int(found.unreadable[0]) << PAGE_SHIFT
            findings.unsearched.append(f"{holder}: {count(lost, 'page')} from {address:#x} on cannot be read")
        program = self._program.hold(process.space, found.hits)
        if findings.baseline is None:
            merged = self._merged(process, found.hits)
            copies = copies_in_process(self._contents, guest, process.space, found.hits, engine=program, merged=merged)
            self._add_copies(findings, guest, copies)
            return found
        # What the emulator's own program is made of says nothing of what a guest has read.
        read = Hits(found.hits.addresses[~program], found.hits.contents[~program])
        findings.baseline.found[read.contents] = True
        findings.baseline.read[read.contents[~_inside_others(read.addresses)]] = True
        return replace(found, hits=read)

    def _merged(self, process: Searchable, hits: Hits) -> Flags | None:
        """Say which hits lie in frames that KSM has merged; None where frames are hidden."""
        if not self._frames or not len(hits.addresses):
            return None
        first, last = process.ends_of(hits.addresses)
        return are_merged(process.frames[first]) & are_merged(process.frames[last])

    def _search_objects(
        self, findings: MemoryFindings, guest: GuestTarget, spaces: list[ProcessPages], object_search: ObjectSearch
    ) -> None:
        reached = object_search.reached(spaces, findings.descriptors)
        silent = object_search.unanswered(spaces, findings.descriptors)
        findings.unsearched += [f"{guest.label}: {reason}" for reason in silent]
        for reachable in reached:
            contents, reason = object_search.search(reachable)
            self._add_copies(findings, guest, copies_in_object(self._contents, guest, reachable, contents))
            if reason is not None:
                findings.unsearched.append(f"{guest.label}: {reachable.name or 'an open file'}: {reason}")

    def _search_detached(self, findings: MemoryFindings, guest: GuestTarget, pids: list[int]) -> None:
        for segment in detached_segments(pids):
            contents, reason = search_detached(self._searcher, segment)
            self._add_copies(findings, guest, copies_in_detached(self._contents, guest, segment.number, contents))
            if reason is not None:
                findings.unsearched.append(f"{guest.label}: {reason}")

    def _add_copies(self, findings: MemoryFindings, guest: GuestTarget | None, copies: list[Any]) -> None:
        findings.copies += copies
        if guest is None or guest.expect == "shared":
            for copy in copies:
                self._record("copy", **copy._asdict())

    def _judge_frames(
        self, baseline: BaselineFindings, processes: list[Searchable], found: list[tuple[Searchable, Found]]
    ) -> None:
        """Note which pages of a baseline lie in frames that others map, too."""
        # A guest of several processes may map a frame of its own more than once.
        own, entries = np.unique(
            np.concatenate([np.zeros(0, np.uint64), *(process.frames for process in processes)]), return_counts=True
        )
        for process, one in found:
            hits: Hits = one.hits
            if self._frames:
                alone = _alone(process, hits.addresses, own, entries)
                if not alone.all():
                    alone[~alone] = ~shared_now(processes, process, hits.addresses[~alone])
            else:
                first, last = process.ends_of(hits.addresses)
                alone = is_exclusive(process.entries[first]) & is_exclusive(process.entries[last])
            if not alone.all():
                baseline.shared_pages += len(np.unique(hits.contents[~alone]))
                baseline.shared_address = int(hits.addresses[~alone][0])


def _inside_others(addresses: Pages) -> Flags:
    """Say which copies lie partly in a page that is a copy itself: one file may have in it what another begins with."""
    pages, offsets = addresses >> PAGE_SHIFT, addresses & (PAGE_SIZE - 1)
    whole = pages[offsets == 0]
    inside: Flags = (offsets != 0) & (np.isin(pages, whole) | np.isin(pages + 1, whole))
    return inside


def shared_now(processes: list[Searchable], process: Searchable, addresses: Pages) -> Flags:
    """Look again at pages that seem to lie in frames of others; say which do.

    The kernel moves pages (compaction): the frame whose entries were counted may be another page's by then. A page is
    in a shared frame only where it is in the same frame before and after the count. One that moves all the time is not.
    """
    shared = np.zeros(len(addresses), np.bool_)
    for page in (addresses >> PAGE_SHIFT, (addresses + PAGE_SIZE - 1) >> PAGE_SHIFT):
        left = np.flatnonzero(~shared)
        for _ in range(_LOOKS):
            if not len(left):
                break
            before = _frames_now(process, page[left])
            counted = map_counts(before).astype(np.int64)
            ours = np.sum([_frames_now(each, page[left]) == before for each in processes], axis=0)
            still = (_frames_now(process, page[left]) == before) & (before != 0)
            shared[left[still & (counted > ours)]] = True
            left = left[~still & (before != 0)]
    return shared


def _frames_now(process: Searchable, pages: Pages) -> Entries:
    """Return the frames that pages of a process are in at this moment; 0 for none."""
    entries = np.zeros(len(pages), np.uint64)
    with Pagemap(process.space.pid) as pagemap:
        for place, page in enumerate(pages):
            entries[place] = pagemap.read(int(page), 1)[0]
    return frames_of(entries)


def _alone(process: Searchable, addresses: Pages, own: Entries, entries: Pages) -> Flags:
    """Say which pages lie in frames whose page-table entries are all this guest's (or in its swap)."""
    alone = np.ones(len(addresses), np.bool_)
    for places in process.ends_of(addresses):
        frames = process.frames[places]
        ours = entries[np.searchsorted(own, frames)]
        alone &= (frames == 0) | (map_counts(frames).astype(np.int64) == ours)
    return alone
