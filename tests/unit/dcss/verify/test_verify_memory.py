"""Which memory is searched, once or for each process, and what made-up page tables are judged to be."""

import os
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import pytest
from needs_support import needs
from segment_support import FILES, PAGES, Stage, map_all, order, random_content, unmapped

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.memory_map import MemoryMap
from dcss.account.pagemap import Entries
from dcss.account.scan import scan
from dcss.account.space import ProcessPages
from dcss.verify.claims import one_frame
from dcss.verify.files import file_proofs, file_tallies
from dcss.verify.search import process_memory as memory
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.process_memory import ProcessSearch, Searchable
from dcss.verify.search.searcher import Searcher
from dcss.verify.segment_content import Bytes
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import Snapshot, SnapshotBuilder


class MadeUp:
    """Stands for ProcessMemory: reads frames that a test made up, and counts how often each page was read."""

    contents: ClassVar[dict[int, dict[int, bytes]]] = {}
    read_pages: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, first_page: int, buffer: Bytes) -> int:
        for index in range(len(buffer) // PAGE_SIZE):
            page = self.contents[self.pid][first_page + index]
            buffer[index * PAGE_SIZE : (index + 1) * PAGE_SIZE] = np.frombuffer(page, np.uint8)
            self.read_pages.append((self.pid, first_page + index))
        return len(buffer)


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ProcessMemory", MadeUp)
    MadeUp.contents = {}
    MadeUp.read_pages = []


def process(pid: int, pages: dict[int, tuple[int, bytes]]) -> Searchable:
    """A process of `pages`: number -> (frame, content)."""
    numbers = np.array(sorted(pages), np.int64)
    frames = np.array([pages[number][0] for number in sorted(pages)], np.uint64)
    MadeUp.contents[pid] = {number: content for number, (_, content) in pages.items()}
    return Searchable(ProcessPages(pid, MemoryMap.of([]), numbers, frames), numbers, frames, frames)


def search(segment: bytes, processes: list[Searchable]) -> list[list[int]]:
    """Return the addresses at which each process has a copy; all are held still."""
    search = ProcessSearch(Searcher(Contents.of([unmapped(segment)])))
    return [search.search(process, keep=True).hits.addresses.tolist() for process in processes]


SEGMENT = random_content(1)
ZEROS = bytes(PAGE_SIZE)
FIRST, SECOND = ZEROS[:1000] + SEGMENT[:-1000], SEGMENT[-1000:] + ZEROS[1000:]


def test_a_frame_is_read_once_and_counts_for_all() -> None:
    processes = [process(1, {10: (7, SEGMENT)}), process(2, {10: (7, SEGMENT), 90: (8, ZEROS)})]
    assert search(SEGMENT, processes) == [[10 * PAGE_SIZE], [10 * PAGE_SIZE]]
    assert MadeUp.read_pages == [(1, 10), (2, 90)]


def test_a_frame_at_another_address_is_read_again() -> None:
    # What lies beside it is another frame there.
    processes = [process(1, {10: (7, SEGMENT)}), process(2, {20: (7, SEGMENT), 90: (8, ZEROS)})]
    assert search(SEGMENT, processes) == [[10 * PAGE_SIZE], [20 * PAGE_SIZE]]


def test_later_process_has_it_and_the_earlier_too() -> None:
    processes = [process(1, {5: (6, ZEROS)}), process(2, {20: (7, SEGMENT)}), process(3, {30: (7, SEGMENT)})]
    assert search(SEGMENT, processes) == [[], [20 * PAGE_SIZE], [30 * PAGE_SIZE]]


def test_copy_that_begins_on_a_page_searched_elsewhere() -> None:
    # The second process wrote the page behind one that it has in common with the first.
    processes = [process(1, {10: (1, FIRST), 11: (2, ZEROS)}), process(2, {10: (1, FIRST), 11: (3, SECOND)})]
    assert search(SEGMENT, processes) == [[], [10 * PAGE_SIZE + 1000]]


def test_copy_that_ends_on_a_page_searched_elsewhere() -> None:
    processes = [process(1, {10: (1, ZEROS), 11: (2, SECOND)}), process(2, {10: (3, FIRST), 11: (2, SECOND)})]
    assert search(SEGMENT, processes) == [[], [10 * PAGE_SIZE + 1000]]


def test_two_frames_that_are_a_copy_only_side_by_side() -> None:
    processes = [
        process(1, {10: (1, FIRST), 11: (2, SECOND)}),
        process(2, {10: (1, FIRST), 12: (2, SECOND)}),
        process(3, {10: (1, FIRST), 11: (9, ZEROS)}),
        process(4, {40: (1, FIRST), 41: (2, SECOND)}),
        process(5, {40: (1, FIRST)}),
    ]
    assert search(SEGMENT, processes) == [[10 * PAGE_SIZE + 1000], [], [], [40 * PAGE_SIZE + 1000], []]


def test_two_frames_that_are_side_by_side_in_a_later_process_only() -> None:
    processes = [process(1, {10: (1, FIRST), 12: (2, SECOND)}), process(2, {40: (1, FIRST), 41: (2, SECOND)})]
    assert search(SEGMENT, processes) == [[], [40 * PAGE_SIZE + 1000]]


def test_two_frames_each_from_another_process() -> None:
    processes = [
        process(1, {10: (1, FIRST), 11: (3, ZEROS)}),
        process(2, {10: (4, ZEROS), 11: (2, SECOND)}),
        process(3, {10: (1, FIRST), 11: (2, SECOND)}),
    ]
    assert search(SEGMENT, processes) == [[], [], [10 * PAGE_SIZE + 1000]]


def test_a_page_that_was_copied_on_write_is_compared_with_what_it_was() -> None:
    # Words that did not change are not looked up again; a copy that they complete is found all the same.
    damaged = SEGMENT[:2000] + bytes(8) + SEGMENT[2008:]
    changes = [SEGMENT, damaged, bytes(1) + SEGMENT[1:], ZEROS, SEGMENT]
    processes = [process(1, {10: (1, damaged)})]
    processes += [process(pid, {10: (pid, content)}) for pid, content in enumerate(changes, 2)]
    found = [bool(addresses) for addresses in search(SEGMENT, processes)]
    assert found == [False, True, False, False, False, True]


def test_pages_without_a_visible_frame_are_searched_in_every_process() -> None:
    processes = [process(1, {10: (0, SEGMENT)}), process(2, {10: (0, SEGMENT)}), process(3, {10: (0, ZEROS)})]
    assert search(SEGMENT, processes) == [[10 * PAGE_SIZE], [10 * PAGE_SIZE], []]
    assert len(MadeUp.read_pages) == 3


def test_frames_of_processes_that_are_not_held_still_say_nothing_of_later_ones() -> None:
    # They may write between two searches, so the same frame need not hold the same bytes.
    search = ProcessSearch(Searcher(Contents.of([unmapped(SEGMENT)])))
    found = []
    for pid, content in enumerate((SEGMENT, SEGMENT, ZEROS), 1):
        one = search.search(process(pid, {10: (7, content)}), keep=False)
        found.append(one.hits.addresses.tolist())
    assert found == [[10 * PAGE_SIZE], [10 * PAGE_SIZE], []]
    assert (len(MadeUp.read_pages), search.kept) == (3, 0)
    search.search(process(4, {10: (7, SEGMENT)}), keep=True)
    assert search.kept == 1


def test_what_a_guest_has_of_a_kept_process_is_read_once_and_all_else_in_each() -> None:
    search = ProcessSearch(Searcher(Contents.of([unmapped(SEGMENT)])))
    server = {10: (7, ZEROS), 20: (8, ZEROS), 30: (0, ZEROS)}
    search.search(process(1, server), keep=True)
    MadeUp.read_pages.clear()
    found = []
    # Page 10 stands in the server's frame; the frame of page 20 is the guest's, and the next one's with other content.
    for pid, content in ((2, SEGMENT), (3, ZEROS), (4, SEGMENT)):
        one = process(pid, {10: (7, ZEROS), 20: (9, content), 30: (0, content)})
        found.append(search.search(one, keep=False).hits.addresses.tolist())
    both = [20 * PAGE_SIZE, 30 * PAGE_SIZE]
    assert found == [both, [], both]
    assert MadeUp.read_pages == [(pid, page) for pid in (2, 3, 4) for page in (20, 30)]
    search.drop_to(1)
    assert search.kept == 1
    search.drop_to(0)
    assert search.kept == 0
    search.search(process(5, server), keep=False)  # nothing stands still any more
    assert {page for pid, page in MadeUp.read_pages if pid == 5} == {10, 20, 30}


def snapshot_of(stage: Stage, segments: list[SegmentView], *, frames: bool) -> Snapshot:
    builder = SnapshotBuilder(stage.system, segments, frames=frames, evidence=None)
    scan(stage.system, [builder])
    return builder.snapshot


@needs("frames")
def test_page_of_the_object_in_another_frame_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    # No kernel does that: the page table of one guest is made up.
    with Stage() as stage:
        stage.publish()
        for _ in range(2):
            stage.guest(map_all())
        liar = stage.guests[1].pids[0]
        first = (stage.user_area.start >> PAGE_SHIFT) + 4
        read = ProcessPages.read

        def lie(cls: type[ProcessPages], pid: int, objects: frozenset[tuple[int, int]] | None = None) -> ProcessPages:
            space = read(pid, objects)
            if pid == liar:
                altered: Entries = space.entries.copy()
                altered[np.isin(space.pages, [first, first + 1])] ^= np.uint64(1)
                return replace(space, entries=altered)
            return space

        monkeypatch.setattr(ProcessPages, "read", classmethod(lie))
        segments = [SegmentView.of(segment) for segment in stage.segments]
        by_frames, by_mappings = (snapshot_of(stage, segments, frames=frames) for frames in (True, False))
    claim = one_frame.judge(by_frames)
    proofs = file_proofs(by_frames, file_tallies(by_frames))
    assert claim.holds is False
    assert claim.detail == "guest LINUX02: LIB:/lib/one.so: 2 of 40 pages in a frame that is not CP's"
    assert [(proof.distinct_frames, proof.shared) for proof in proofs] == [(42, False), (32, True), (1, True)]
    assert one_frame.judge(by_mappings).holds is True


@needs("frames")
def test_pages_absent_from_cps_own_mapping_prove_nothing() -> None:
    with Stage() as stage:
        target = stage.publish()
        stage.guest(map_all())
        segments = [SegmentView.of(target)]
        snapshot = snapshot_of(stage, segments, frames=True)
        snapshot.cp_entries[0][:3] = 0
        claim = one_frame.judge(snapshot)
    assert claim.detail == f"segment LIB: 3 pages absent from CP's own mapping at {target.address:#x}"
    assert len(FILES) == 3
    assert segments[0].pages == PAGES
    assert stage.system.cp_pid == os.getpid()


@needs("frames")
def test_pages_of_an_object_behind_its_segment_are_no_pages_of_the_segment() -> None:
    with Stage() as stage:
        stage.publish()
        os.truncate(stage.path(), (PAGES + 8) * PAGE_SIZE)  # by somebody who may write it
        stage.guest([*map_all(), order("map", at=5000, page=PAGES - 4, pages=12)])
        snapshot = snapshot_of(stage, [SegmentView.of(segment) for segment in stage.segments], frames=True)
    assert snapshot.pte_counts[0].tolist()[-4:] == [2] * 4  # CP's and the guest's
    assert snapshot.guests[0].segments[0].proved[-4:].all()
    assert not snapshot.guests[0].segments[0].wrong.any()
