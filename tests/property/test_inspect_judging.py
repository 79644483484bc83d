"""What `dcss inspect` concludes from any page tables, beside a model that only counts sets of pages."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.abi.pagemap import PM_FILE, PM_PRESENT, PM_SWAP
from dcss.account.frames import hidden_because
from dcss.account.maps import Vma
from dcss.account.memory_map import MemoryMap
from dcss.account.pagemap import Entries, is_present
from dcss.account.scan import GuestReading
from dcss.account.space import ProcessPages
from dcss.inspect.looks import MOST_LOOKS, until_two_agree
from dcss.inspect.opening import OpenedObject
from dcss.inspect.processes import NamedProcess
from dcss.inspect.selection import Chosen
from dcss.inspect.target import system_of
from dcss.verify.claims import one_frame
from dcss.verify.files import file_proofs, file_tallies
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import Snapshot, SnapshotBuilder

PAGES = 24
_OTHER_FRAME = np.uint64(1)  # of the machine's first memory, which the kernel keeps
ADDRESS = 0x7F0000000000
STATES = st.sampled_from(["absent", "right", "right", "right", "wrong", "written", "swapped"])
TABLES = st.lists(st.lists(STATES, min_size=PAGES, max_size=PAGES), min_size=1, max_size=4)


class Model(NamedTuple):
    """For each process the pages in the frame that inspect has, and those in another one."""

    right: list[set[int]]
    wrong: list[set[int]]

    def holds(self, *, named: bool) -> bool | None:
        """Say what the claim about frames should be."""
        mapped = [right | wrong for right, wrong in zip(self.right, self.wrong, strict=True)]
        if any(self.wrong) or (not named and not all(mapped)):
            return False
        return True if not named and any(mapped) else bool(set.intersection(*mapped)) or None


@contextmanager
def opened_object() -> Iterator[OpenedObject]:
    descriptor = os.memfd_create("judged")
    os.write(descriptor, os.urandom(PAGES * PAGE_SIZE))
    with OpenedObject(descriptor) as opened:
        yield opened


def pages_of(pid: int, opened: OpenedObject, states: Sequence[str], own: Entries) -> ProcessPages:
    """A process that maps the object privately, with each page in a state."""
    device, inode = opened.object
    vma = Vma(ADDRESS, ADDRESS + PAGES * PAGE_SIZE, "rw-p", 0, device, inode, b"/judged")
    present, file = np.uint64(PM_PRESENT), np.uint64(PM_FILE)
    entries_of = {
        "right": own | present | file,
        "wrong": np.full(PAGES, present | file | _OTHER_FRAME),
        "written": np.full(PAGES, present | _OTHER_FRAME),
        "swapped": np.full(PAGES, np.uint64(PM_SWAP)),
    }
    there = [page for page, state in enumerate(states) if state != "absent"]
    pages = np.array([(ADDRESS >> PAGE_SHIFT) + page for page in there], np.int64)
    entries = np.array([entries_of[states[page]][page] for page in there], np.uint64)
    return ProcessPages(pid, MemoryMap.of([vma]), pages, entries)


def look(opened: OpenedObject, tables: Sequence[Sequence[str]], *, named: bool, frames: bool) -> tuple[Snapshot, Model]:
    """Return what is seen of processes with these pages, and what there is to see."""
    processes = [NamedProcess(1000 + place, "peer", -1) for place in range(len(tables))]
    chosen = [Chosen("/judged", opened, tuple(process.pid for process in processes), ())]
    system = system_of(processes, chosen, [np.arange(PAGES)], named=named)
    segments = [SegmentView.of(segment) for segment in system.segments]
    builder = SnapshotBuilder(system, segments, frames=frames, evidence=None, populated=True)
    own = builder.snapshot.cp_entries[0]
    known = set(np.flatnonzero(is_present(own)).tolist())
    for guest, states in zip(system.guests, tables, strict=True):
        space = pages_of(guest.pids[0], opened, states, own)
        builder.add_guest(GuestReading(guest, guest.pids, (space,), None))

    def in_state(wanted: str) -> list[set[int]]:
        return [{page for page, state in enumerate(states) if state == wanted} & known for states in tables]

    right, wrong = in_state("right"), in_state("wrong")
    if not frames:  # a page of the object at its offset is all that can be seen
        right, wrong = [a | b for a, b in zip(right, wrong, strict=True)], [set() for _ in tables]
    return builder.snapshot, Model(right, wrong)


@given(tables=TABLES, named=st.booleans(), frames=st.booleans(), populated=st.sampled_from([PAGES, 3, 0]))
def test_claim_and_counts_are_those_of_the_model(
    tables: list[list[str]], named: bool, frames: bool, populated: int
) -> None:
    with opened_object() as opened:
        opened.populate([(0, populated)] if populated else [])
        frames = frames and bool(hidden_because() is None)
        snapshot, model = look(opened, tables, named=named, frames=frames)
        assert one_frame.judge(snapshot).holds == model.holds(named=named)
        seen = [right | wrong for right, wrong in zip(model.right, model.wrong, strict=True)]
        mappers = seen if named else [pages for pages in seen if pages]
        proofs = file_proofs(snapshot, file_tallies(snapshot))
        assert [proof.checked_pages for proof in proofs] == (
            [len(set.intersection(*mappers) if named else set.union(*mappers))] if mappers else []
        )
        for proof in proofs:
            assert proof.shared == (proof.checked_pages > 0 and not any(model.wrong))
            assert len(proof.guests) == len(mappers)
        counted = snapshot.pte_counts[0] - is_present(snapshot.cp_entries[0])
        expected = np.zeros(PAGES, np.int64)
        for right in model.right:
            expected[list(right)] += 1
        assert counted.tolist() == expected.tolist()


@given(st.lists(st.integers(0, 2), min_size=MOST_LOOKS, max_size=MOST_LOOKS))
def test_two_looks_in_a_row_decide(seen: list[int]) -> None:
    looks = iter(seen)
    last, agreed = until_two_agree(lambda: next(looks), lambda look: look)
    taken = len(seen) - len(list(looks))
    pairs = list(pairwise(seen[:taken]))
    assert last == seen[taken - 1]
    assert agreed == (pairs[-1][0] == pairs[-1][1])
    assert all(before != after for before, after in pairs[:-1])
    assert agreed or taken == MOST_LOOKS
