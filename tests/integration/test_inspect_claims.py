"""`dcss inspect`: what plain processes share is judged as guests are, and who else maps it is listed."""

import mmap
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from claim_support import NO_COPIES, ONE_FRAME, detail
from needs_support import needs
from peers_support import Peer, peers

from benchmarks.framework.ksm import FAST, merging, wait_until_merged
from dcss.account.frames import hidden_because
from dcss.errors import ConfigError
from dcss.inspect.inspection import inspect
from dcss.inspect.selection import Wanted
from dcss.results import InspectResult, VerifyResult

PAGES = 40
TAIL_BYTES = 100


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.write_bytes(random.Random(15).randbytes(PAGES * mmap.PAGESIZE + TAIL_BYTES))
    return path


def inspected(found: Sequence[Peer], file: Path | None = None) -> InspectResult:
    wanted = Wanted() if file is None else Wanted((str(file),))
    return inspect([peer.pid for peer in found], wanted)


def refuted(result: VerifyResult) -> list[str]:
    return [claim.claim for claim in result.claims if claim.holds is False]


def test_two_processes_that_map_a_file_are_verified(file: Path) -> None:
    with peers(f"map={file}", f"private={file}") as found:
        result = inspected(found, file)
    assert result.verify.verdict == "verified", result.verify.claims
    assert [claim.claim for claim in result.verify.claims if claim.applies and claim.holds][:2] == [
        ONE_FRAME,
        NO_COPIES,
    ]
    (proof,) = result.verify.files
    assert (proof.path, proof.pages, proof.checked_pages, proof.shared) == (str(file), PAGES + 1, PAGES + 1, True)
    assert proof.guests == tuple(str(peer.pid) for peer in found)
    assert result.measure.totals.saved_bytes == (PAGES + 1) * mmap.PAGESIZE


@needs("frames")
def test_pages_in_one_frame_are_named(file: Path) -> None:
    with peers(f"map={file}", f"private={file}") as found:
        (row,) = inspected(found, file).objects
    assert (row.path, row.pids) == (str(file), tuple(peer.pid for peer in found))
    assert (row.one_frame_pages, row.one_frame, row.others) == (PAGES + 1, ((0, PAGES + 1),), ())


def test_every_process_has_a_line_that_adds_up(file: Path) -> None:
    with peers(f"map={file}", f"copy={file}") as found:
        rows = inspected(found, file).processes
    assert [row.pid for row in rows] == [peer.pid for peer in found]
    for row in rows:
        assert row.private_bytes is not None
        assert row.shared_bytes is not None
        assert row.total_bytes == row.private_bytes + row.shared_bytes
    assert [row.copied_bytes for row in rows] == [0, PAGES * mmap.PAGESIZE]


def test_a_copy_in_any_process_refutes(file: Path) -> None:
    with peers(f"map={file}", [f"map={file}", f"copy={file}"]) as found:
        result = inspected(found, file).verify
    assert (result.verdict, refuted(result)) == ("refuted", [NO_COPIES])
    assert f"process {found[1].pid} (" in detail(result, NO_COPIES)
    assert f"{PAGES} pages of {file}" in detail(result, NO_COPIES)


def test_a_process_that_maps_nothing_of_the_file_refutes(file: Path) -> None:
    with peers(f"map={file}", f"untouched={__file__}") as found:
        result = inspected(found, file).verify
    assert refuted(result) == [ONE_FRAME]
    assert f"process {found[1].pid}" in detail(result, ONE_FRAME)


def test_pages_that_a_process_wrote_are_its_own(file: Path) -> None:
    with peers(f"map={file}", f"change={file}") as found:
        result = inspected(found, file)
    assert result.verify.verdict == "verified", result.verify.claims
    assert result.verify.files[0].checked_pages == PAGES
    assert [guest.written_segment_bytes for guest in result.measure.guests] == [0, mmap.PAGESIZE]


def test_a_written_page_with_the_content_of_the_file_is_a_copy(file: Path) -> None:
    with peers(f"map={file}", f"rewrite={file}") as found:
        result = inspected(found, file).verify
    assert refuted(result) == [NO_COPIES]
    assert f"a written private mapping of {file}" in detail(result, NO_COPIES)


def test_nothing_touched_in_common_is_unproved(file: Path) -> None:
    with peers(f"map={file}", f"untouched={file}") as found:
        result = inspected(found, file).verify
    assert (result.verdict, refuted(result)) == ("unproved", [])


@needs("frames")
def test_others_that_map_the_file_are_listed_and_refute_nothing(file: Path) -> None:
    with peers(f"map={file}", f"map={file}", [f"map={file}", f"copy={file}"]) as found:
        result = inspected(found[:2], file)
    assert result.verify.verdict == "verified", result.verify.claims
    assert [other.pid for other in result.objects[0].others] == [found[2].pid]


def test_without_a_name_all_that_two_map_in_common_is_found(file: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.write_bytes(file.read_bytes()[::-1])
    with peers([f"map={file}", f"map={alone}"], f"map={file}") as found:
        result = inspected(found)
    paths = [row.path for row in result.objects]
    assert str(file) in paths
    assert str(alone) not in paths
    assert next(proof for proof in result.verify.files if proof.path == str(file)).shared


def test_nothing_is_stopped(file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        inspected(found, file)
        assert [peer.finish() for peer in found] == ["", ""]


def test_level_of_evidence_is_named(file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        result = inspected(found, file).verify
    assert result.evidence == ("frames" if hidden_because() is None else "mappings")


def test_what_is_no_process_is_said_so(file: Path) -> None:
    with peers(f"map={file}") as (peer,):
        peer.kill()
        with pytest.raises(ConfigError, match=f"PID {peer.pid}: found no process of that id"):
            inspected([peer], file)
    with pytest.raises(ConfigError, match="PID 2: found kernel thread"):
        inspect([2], Wanted((str(file),)))


@needs("ksm", "frames")
def test_copies_that_ksm_has_merged_are_counted_apart(file: Path) -> None:
    with merging(FAST), peers(f"mergeable={file}", f"mergeable={file}", f"copy={file}") as found:
        wait_until_merged([peer.pid for peer in found[:2]], 2 * (PAGES + 1), 1.0, 60)
        result = inspected(found, file)
    assert refuted(result.verify) == [ONE_FRAME, NO_COPIES]
    merged_bytes = (PAGES + 1) * mmap.PAGESIZE
    assert [(row.copied_bytes, row.merged_bytes) for row in result.processes] == [
        (merged_bytes, merged_bytes),
        (merged_bytes, merged_bytes),
        (PAGES * mmap.PAGESIZE, 0),
    ]
    assert f"{PAGES + 1} of them merged by KSM" in detail(result.verify, NO_COPIES)
