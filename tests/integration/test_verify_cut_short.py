"""Objects that somebody truncates: a load behind the end would end CP by SIGBUS, and with it this very process."""

import os
import threading
from pathlib import Path

import pytest
from claim_support import BASELINES, NO_COPIES, ONE_FRAME, PROTECTION, detail
from segment_support import PAGES, Stage, map_all, order, without_privilege

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.results import VerifyResult
from dcss.verify.cache import ContentCache
from dcss.verify.examine import verify


def held(result: VerifyResult) -> dict[str, bool | None]:
    return {claim.claim: claim.holds for claim in result.claims if claim.applies}


def refutation(stage: Stage, size_bytes: int) -> str:
    pages = PAGES - size_bytes // PAGE_SIZE
    return (
        f"segment LIB: object {stage.segments[0].shm_name} was cut short: found {size_bytes:,} bytes, wanted"
        f" {PAGES * PAGE_SIZE:,}; {pages} pages lost"
    )


@pytest.mark.parametrize("size_bytes", [0, PAGE_SIZE, 5 * PAGE_SIZE + 1])
def test_cut_short_before_the_proof(size_bytes: int) -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        os.truncate(stage.path(), size_bytes)
        result = verify(stage.system)
        assert refutation(stage, size_bytes) in detail(result, ONE_FRAME)
        assert refutation(stage, size_bytes) in detail(result, PROTECTION)
        assert refutation(stage, size_bytes) in detail(result, NO_COPIES)
    assert result.verdict == "refuted"
    assert (held(result)[ONE_FRAME], held(result)[PROTECTION], held(result)[NO_COPIES]) == (False, False, None)


def test_cut_short_between_two_proofs_that_share_what_they_derived() -> None:
    cache = ContentCache()
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("hide", how="bytes", page=20, pages=20)])
        copies = detail(verify(stage.system, cache=cache), NO_COPIES)
        assert "20 pages of LIB:/lib/one.so" in copies
        os.truncate(stage.path(), PAGE_SIZE)
        result = verify(stage.system, cache=cache)
        assert held(result)[NO_COPIES] is None  # the copies are still there, and their original is not
        assert refutation(stage, PAGE_SIZE) in detail(result, PROTECTION)


def test_a_segment_that_guests_may_write_is_cut_short() -> None:
    with Stage() as stage:
        stage.publish(kind=SegmentType.SW, digest=None)
        stage.guest(map_all())
        os.truncate(stage.path(), PAGE_SIZE)
        result = verify(stage.system)
        assert refutation(stage, PAGE_SIZE) in detail(result, ONE_FRAME)
    assert result.verdict == "refuted"


def test_what_a_baseline_copied_cannot_be_judged_any_more() -> None:
    with Stage() as stage:
        stage.publish()
        orders = [order("storage", pages=PAGES), order("read_into", address=0, page=8, pages=40)]
        stage.guest(orders, expect="copies")
        assert verify(stage.system).verdict == "verified"
        os.truncate(stage.path(), PAGE_SIZE)
        result = verify(stage.system)
        assert held(result)[BASELINES] is None
        assert refutation(stage, PAGE_SIZE) in detail(result, BASELINES)


def test_cut_short_and_made_long_again_during_proofs() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        path, done = stage.path(), threading.Event()
        whole = path.read_bytes()

        def change() -> None:
            while not done.is_set():
                os.truncate(path, 7 * PAGE_SIZE)
                path.write_bytes(whole)

        thread = threading.Thread(target=change)
        thread.start()
        try:
            verdicts = [verify(stage.system).verdict for _ in range(8)]  # each of them ends
        finally:
            done.set()
            thread.join()
    assert len(verdicts) == 8


def test_without_privilege() -> None:
    def prove() -> VerifyResult:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            os.truncate(Path("/dev/shm" + stage.segments[0].shm_name), PAGE_SIZE)
            return verify(stage.system)

    assert without_privilege(prove).verdict == "refuted"
