"""What an ordinary user can prove: the level is named, nothing unseen counts as true, and cheats are still found."""

import ctypes
import mmap
import os
import signal
from collections.abc import Callable

import pytest
from claim_support import BASELINES, COUNTERS, NO_COPIES, ONE_FRAME, PROTECTION, assert_verified, detail
from segment_support import ADDRESS, PAGES, Order, Stage, disk_directory, map_all, order, without_privilege

from dcss.abi.page import PAGE_SIZE
from dcss.results import VerifyResult
from dcss.verify.examine import verify


def verified_without_privilege(prepare: Callable[[Stage], object], honest: int = 1) -> VerifyResult:
    def run() -> VerifyResult:
        with Stage() as stage:
            stage.publish()
            for _ in range(honest):
                stage.guest(map_all())
            prepare(stage)
            return verify(stage.system)

    return without_privilege(run)


def refuted(result: VerifyResult) -> list[str]:
    assert result.evidence == "mappings"
    assert result.verdict == "refuted"
    return [claim.claim for claim in result.claims if claim.holds is False]


def test_honest_system_is_verified_by_mappings() -> None:
    result = verified_without_privilege(lambda _: None, honest=3)
    assert_verified(result)
    assert result.evidence == "mappings"
    assert all(file.distinct_frames is None and file.shared for file in result.files)
    assert "a page of the segment's object at its offset" in detail(result, ONE_FRAME)
    assert "Pss_Shmem" in detail(result, COUNTERS)
    assert "with a guest's own descriptor" in detail(result, PROTECTION)
    (limit,) = result.limits
    assert "CAP_SYS_ADMIN" in limit


def test_absent_page() -> None:
    orders = [order("map", at=0, page=8, pages=40, touched=39)]
    result = verified_without_privilege(lambda stage: stage.guest(orders))
    assert_verified(result)
    assert result.files[0].checked_pages == 39


@pytest.mark.parametrize("change", [False, True], ids=["equal", "changed"])
def test_private_memory_in_place_of_pages(change: bool) -> None:
    orders = [*map_all(), order("replace", at=3, page=11, pages=2, change=change)]
    result = verified_without_privilege(lambda stage: stage.guest(orders))
    assert refuted(result) == ([ONE_FRAME] if change else [ONE_FRAME, NO_COPIES])
    assert "2 pages of private memory" in detail(result, ONE_FRAME)


def test_a_hole_and_pages_that_a_child_has_too() -> None:
    def prepare(stage: Stage) -> None:
        stage.guest([*map_all(), order("hole", at=5000, pages=8)])

    assert_verified(verified_without_privilege(prepare))
    forked = [
        *map_all(),
        order("replace", at=3, page=11, pages=2, change=True),
        order("hide", how="child", page=8, pages=0),
    ]
    result = verified_without_privilege(lambda stage: stage.guest(forked))
    assert "2 pages of private memory" in detail(result, ONE_FRAME)


def test_written_private_copy_in_the_user_area() -> None:
    device = order("device", address=ADDRESS, pages=PAGES, private=True)
    orders = [device, order("rewrite", address=ADDRESS + 8 * PAGE_SIZE, pages=2), *map_all()[1:]]
    assert refuted(verified_without_privilege(lambda stage: stage.guest(orders))) == [ONE_FRAME, NO_COPIES]


@pytest.mark.parametrize(
    "how", ["bytes", "private", "anonymous_shared", "dropped", "prot_none", "straddling", "memfd", "memfd_unmapped"]
)
def test_hidden_copies_are_found(how: str) -> None:
    orders = [*map_all(), order("hide", how=how, page=8, pages=40)]
    result = verified_without_privilege(lambda stage: stage.guest(orders))
    assert refuted(result) == [NO_COPIES]
    assert "guest LINUX02 (kernel): 40 pages of LIB:/lib/one.so" in detail(result, NO_COPIES)


def test_foreign_process_shows_in_the_shares() -> None:
    def foreign(stage: Stage) -> None:
        started, ready = os.pipe()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the test
            with mmap.mmap(stage.segments[0].descriptor, 0, prot=mmap.PROT_READ) as mapped:
                for page in range(PAGES):
                    assert len(mapped[page * PAGE_SIZE : page * PAGE_SIZE + 1]) == 1
                os.write(ready, b"x")
                signal.pause()
        os.read(started, 1)

    result = verified_without_privilege(foreign)
    assert refuted(result) == [COUNTERS]
    assert "it is mapped by process" in detail(result, COUNTERS)


def test_other_shared_memory_of_a_guest_does_not_upset_the_shares() -> None:
    def share(stage: Stage) -> None:
        path = stage.path().with_name(f"{stage.path().name}-other")
        path.write_bytes(bytes(64 * PAGE_SIZE))
        try:
            for _ in range(2):
                stage.guest([*map_all(), order("share", path=str(path), touched=64)])
        finally:
            path.unlink()

    assert_verified(verified_without_privilege(share))


def test_baseline_copies_by_exclusive_pages() -> None:
    def baseline(stage: Stage) -> None:
        orders = [order("storage", pages=64), order("read_into", address=0, page=8, pages=40)]
        stage.guest(orders, expect="copies")

    assert_verified(verified_without_privilege(baseline))


def test_baselines_that_share_one_copy() -> None:
    def share(stage: Stage) -> None:
        path = stage.path().with_name(f"{stage.path().name}-other")
        path.write_bytes(stage.path().read_bytes()[8 * PAGE_SIZE : 48 * PAGE_SIZE])
        try:
            for _ in range(2):
                stage.guest([order("share", path=str(path), touched=40)], expect="copies")
        finally:
            path.unlink()

    result = verified_without_privilege(share)
    assert refuted(result) == [BASELINES]
    assert "in frames that others map as well" in detail(result, BASELINES)


def test_closed_books_are_unknown_and_never_true() -> None:
    def close(stage: Stage) -> None:
        orders: list[Order] = [*map_all(), order("undumpable")]
        stage.guest(orders)

    result = verified_without_privilege(close)
    assert [claim.holds for claim in result.claims] == [None, None, None, None]
    assert result.verdict == "unproved"
    assert "guest LINUX02" in detail(result, ONE_FRAME)
    assert "Permission denied" in detail(result, ONE_FRAME)


def test_a_deleted_file_of_a_disk_is_no_memory() -> None:
    def share(stage: Stage) -> None:
        with disk_directory() as directory:
            path = directory / "program"
            with path.open("wb") as file:
                file.truncate(2 << 30)  # more than is searched of memory that cannot be opened
            stage.guest([*map_all(), order("share_private", path=str(path))])

    assert_verified(verified_without_privilege(share))
