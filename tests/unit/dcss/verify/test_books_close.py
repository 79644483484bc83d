"""Claim 3: the kernel's count of page-table entries, or all processes' shares, against what the system's have."""

import mmap
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from verdict_support import guest, segment, snapshot

from dcss.account.maps import Vma
from dcss.account.smaps import MappingFields
from dcss.errors import MeasurementDeniedError, SpoolError
from dcss.results import Claim
from dcss.verify.backing import Backings
from dcss.verify.claims import books_close
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import Snapshot

KB = 1024


def test_closed_books_and_no_segments_decide_nothing() -> None:
    views = [segment("LIB", 2)]
    blind = guest("BLIND", views)
    blind.denied = "closed"
    denied = books_close.judge(snapshot(views, [guest("ONE", views), blind]))
    assert (denied.holds, denied.detail) == (None, "not all processes' books could be read: guest BLIND: closed")
    assert books_close.judge(snapshot([])) == Claim("books-close", None, "no segment is published")


class TestByEntries:
    @staticmethod
    def judged(taken: Snapshot, counts: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> Claim:
        of_segment = iter(counts)
        monkeypatch.setattr(
            books_close, "map_counts", lambda frames, **_: np.array(next(of_segment), np.uint64)[: len(frames)]
        )
        return books_close.judge(taken)

    def test_as_many_as_the_kernel_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        taken = snapshot([segment("ONE", 2), segment("TWO", 3)])
        taken.pte_counts[1][:] = 4, 5, 0
        taken.cp_entries[1][2] = 0
        claim = self.judged(taken, [[1, 1], [4, 5, 77]], monkeypatch)  # frame 0 stands for a page that is not present
        assert (claim.holds, claim.detail) == (
            True,
            "11 page-table entries for 4 frames in 2 processes: as many as /proc/kpagecount has, so nobody else maps"
            " them",
        )

    def test_one_of_each(self, monkeypatch: pytest.MonkeyPatch) -> None:
        taken = snapshot([segment("ONE", 1)])
        taken.pids = [1]
        detail = self.judged(taken, [[1]], monkeypatch).detail
        assert detail.startswith("1 page-table entry for 1 frame in 1 process: ")

    @pytest.mark.parametrize(
        ("counts", "wanted"),
        [
            ([2, 1, 3], "2 pages mapped more often than the system's processes map them; no process that can be seen"),
            ([1, 1, 9], "1 page mapped more often than the system's processes map them; no"),
            ([0, 1, 2], "1 page mapped more often than the system's processes map them, 1 less often (books that move"),
            ([0, 0, 1], "0 pages mapped more often than the system's processes map them, 2 less often (books that"),
        ],
    )
    def test_more_and_fewer(self, counts: list[int], wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
        claim = self.judged(snapshot([segment("ONE", 3)]), [counts], monkeypatch)
        assert claim.holds is False
        assert claim.detail.startswith(f"segment ONE: {wanted}")

    def test_every_segment_is_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        claim = self.judged(snapshot([segment("ONE", 1), segment("TWO", 1)]), [[1], [2]], monkeypatch)
        assert claim.detail.startswith("segment TWO: 1 page mapped")

    @pytest.mark.parametrize(("large", "holds"), [(0, True), (2, None)])
    def test_averages_decide_nothing(self, large: int, holds: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(books_close, "counts_are_averages", lambda: True)
        monkeypatch.setattr(books_close, "in_large_folios", lambda frames: np.arange(len(frames)) < large)
        claim = self.judged(snapshot([segment("ONE", 3)]), [[1, 1, 1]], monkeypatch)
        assert claim.holds is holds
        assert holds or claim.detail == (
            "segment ONE: 2 pages in huge pages, of which this kernel counts mappings on average only"
            " (CONFIG_NO_PAGE_MAPCOUNT); give the segment huge_pages: never"
        )

    def test_books_that_are_refused_decide_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise MeasurementDeniedError("/proc/kpagecount: short")

        monkeypatch.setattr(books_close, "map_counts", refuse)
        claim = books_close.judge(snapshot([segment("ONE", 1)]))
        assert (claim.holds, claim.detail) == (None, "/proc/kpagecount: short")


@pytest.fixture
def mapped() -> Iterator[SegmentView]:
    """A segment whose object this process maps."""
    view = segment("LIB", 1)
    status = os.fstat(view.target.descriptor)
    with mmap.mmap(view.target.descriptor, 4096):
        yield replace(view, object=(status.st_dev, status.st_ino))


class TestMappers:
    @staticmethod
    def detail(view: SegmentView, ours: list[int], monkeypatch: pytest.MonkeyPatch) -> str:
        taken = snapshot([view])
        taken.pids = ours
        monkeypatch.setattr(books_close, "map_counts", lambda frames, **_: np.full(len(frames), 9, np.uint64))
        return books_close.judge(taken).detail.partition("; ")[2]

    def test_one_and_several_are_named(self, mapped: SegmentView, monkeypatch: pytest.MonkeyPatch) -> None:
        me = os.getpid()
        name = Path("/proc/self/comm").read_text().strip()
        assert self.detail(mapped, [0], monkeypatch) == f"it is mapped by process {me} ({name})"
        assert self.detail(mapped, [me], monkeypatch) == "no process that can be seen here maps it"
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        try:
            found = self.detail(mapped, [0], monkeypatch)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert found in {
            f"it is mapped by processes {first} ({name}); {second} ({name})"
            for first, second in ((me, child), (child, me))
        }


SHARED = Vma(0x1000, 0x9000, "rw-s", 0, 5, 6, b"/dev/shm/other")
PRIVATE = SHARED._replace(permissions="rw-p", inode=7)
SEGMENT = SHARED._replace(inode=2, device=1)  # what unmapped segments are
PLAIN = SHARED._replace(inode=0, device=0, path=b"")


class TestByShares:
    """The segments have three pages, 12 kB, that somebody has seen; two processes are ours."""

    @staticmethod
    def judged(
        rollup: dict[str, int],
        monkeypatch: pytest.MonkeyPatch,
        others: tuple[tuple[Vma, dict[str, int]], ...] = (),
        *,
        in_memory: bool = True,
    ) -> Claim:
        monkeypatch.setattr(books_close, "read_rollup", lambda _: rollup)
        monkeypatch.setattr(books_close, "read_maps", lambda _: [SEGMENT, PLAIN, *(vma for vma, _ in others)])
        fields = {"Pss": 6 * KB, "Anonymous": 0}
        monkeypatch.setattr(
            books_close,
            "read_smaps",
            lambda _: [MappingFields(vma, of, ()) for vma, of in ((SEGMENT, fields), (PLAIN, fields), *others)],
        )
        monkeypatch.setattr(Backings, "is_shmem", lambda *_: in_memory)
        taken = snapshot([segment("LIB", 4)], frames=False)
        taken.seen[0][:] = True, True, False, True
        return books_close.judge(taken)

    @pytest.mark.parametrize(
        ("share_bytes", "holds", "end"),
        [
            (6 * KB, True, ": nobody else maps more than that"),
            (5 * KB, True, ": nobody else maps more than that"),
            (7 * KB, True, ": nobody else maps more than that"),
            (5 * KB - 1, False, ": somebody else maps them; LIB: no process that can be seen here maps it"),
            (7 * KB + 1, None, ": more than they map, so these books cannot be told apart"),
        ],
    )
    def test_rounding_of_each_process_is_allowed_for(
        self, share_bytes: int, holds: bool | None, end: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim = self.judged({"Pss_Shmem": share_bytes}, monkeypatch)
        assert (claim.holds, claim.detail) == (
            holds,
            f"shares (Pss_Shmem) of 2 processes add up to {2 * share_bytes:,} bytes, their segment pages to 12,288,"
            f" rounding to 2,048 at most{end}",
        )

    def test_shares_of_other_objects_are_taken_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        others = (
            (SHARED, {"Pss": 3 * KB, "Anonymous": 0}),
            (PRIVATE, {"Pss": 2 * KB, "Anonymous": 0}),
            (SHARED._replace(inode=8), {"Pss": 0, "Anonymous": 4 * KB}),  # nothing of it is there: nothing is taken off
        )
        claim = self.judged({"Pss_Shmem": 11 * KB}, monkeypatch, others)
        assert claim.holds is True
        assert "add up to 12,288 bytes, their segment pages to 12,288, rounding to 6,144 at most" in claim.detail

    def test_files_of_disks_have_no_share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        others = ((SHARED, {"Pss": 3 * KB, "Anonymous": 0}),)
        claim = self.judged({"Pss_Shmem": 6 * KB}, monkeypatch, others, in_memory=False)
        assert "add up to 12,288 bytes" in claim.detail

    def test_written_copies_cannot_be_told_from_shares(self, monkeypatch: pytest.MonkeyPatch) -> None:
        claim = self.judged({"Pss_Shmem": 6 * KB}, monkeypatch, ((PRIVATE, {"Pss": KB, "Anonymous": KB}),))
        assert claim.holds is None
        assert claim.detail == "process 1: the share of /dev/shm/other mixes shared and private pages"

    def test_a_kernel_without_such_shares_decides_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        claim = self.judged({"Pss": 6 * KB}, monkeypatch)
        assert claim.holds is None
        assert "smaps_rollup has no Pss_Shmem" in claim.detail

    def test_books_that_cannot_be_read_decide_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: int) -> None:
            raise SpoolError("gone")

        self.judged({}, monkeypatch)
        monkeypatch.setattr(books_close, "read_rollup", fail)
        claim = books_close.judge(snapshot([segment("LIB", 4)], frames=False))
        assert (claim.holds, claim.detail) == (None, "gone")
