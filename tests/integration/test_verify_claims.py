"""Every claim is made false, alone, by live processes; and an honest system is verified."""

import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from claim_support import (
    BASELINES,
    COUNTERS,
    NO_COPIES,
    ONE_FRAME,
    PROTECTION,
    assert_only_false,
    assert_verified,
    detail,
)
from needs_support import needs
from segment_support import ADDRESS, FILES, PAGES, File, Stage, disk_directory, map_all, map_file, order, random_content

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.account.targets import AddressRange
from dcss.verify.examine import verify

pytestmark = needs("frames")

ONE, TWO, THREE = FILES
DEVICE = order("device", address=ADDRESS, pages=PAGES)


def test_honest_guests_are_verified() -> None:
    with Stage() as stage:
        stage.publish()
        for _ in range(3):
            stage.guest(map_all())
        result = verify(stage.system)
    assert_verified(result)
    assert result.evidence == "frames"
    assert result.limits == ()
    assert [claim.claim for claim in result.claims] == [ONE_FRAME, NO_COPIES, COUNTERS, PROTECTION]
    names = ("LINUX01", "LINUX02", "LINUX03")
    assert [(f.path, f.pages, f.checked_pages, f.guests, f.distinct_frames, f.shared) for f in result.files] == [
        ("/lib/one.so", 40, 40, names, 40, True),
        ("/lib/two.so", 32, 32, names, 32, True),
        ("/lib/three.so", 1, 1, names, 1, True),
    ]
    assert "73 pages of 3 files, mapped by 3 guests" in detail(result, ONE_FRAME)
    # CP: 96; each guest: at least its files. As many as the kernel counts.
    assert "96 frames in 5 processes" in detail(result, COUNTERS)
    assert result.cpu_seconds > 0


def test_two_segments_and_guests_of_either() -> None:
    with Stage() as stage:
        stage.publish()
        stage.publish(random_content(16, seed=2), (FILES[0]._replace(runs=((0, 2, 8),)),), name="OTHER")
        stage.guest(map_all())
        stage.guest([order("map", at=0, page=2, pages=8, segment=1)])
        result = verify(stage.system)
    assert_verified(result)
    assert [(f.segment, f.path, f.guests) for f in result.files][-1] == ("OTHER", "/lib/one.so", ("LINUX02",))
    assert "2 segments" in detail(result, PROTECTION)


def test_a_file_mapped_twice_and_a_hole_beside_it_are_no_fault() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), *map_file(ONE, 5000), order("hole", at=5040, pages=8)])
        assert_verified(verify(stage.system))


class TestOneFrame:
    def test_copy_of_a_file_in_its_place(self) -> None:
        with Stage() as stage, disk_directory() as directory:
            stage.publish()
            path = directory / "one.so"
            path.write_bytes(random_content()[8 * PAGE_SIZE : 48 * PAGE_SIZE])
            stage.guest(map_all())
            stage.guest([DEVICE, *map_file(TWO, 0), order("map_path", path=str(path), at=1000, pages=40)])
            reason = assert_only_false(verify(stage.system), ONE_FRAME)
        assert "guest LINUX02" in reason
        assert f"{path} (inode" in reason
        assert "a copy in the segment's place" in reason

    def test_eight_guests_share_one_wrong_copy(self) -> None:
        with Stage() as stage, disk_directory() as directory:
            stage.publish()
            path = directory / "wrong"
            path.write_bytes(random_content(seed=9))
            for _ in range(8):
                stage.guest([DEVICE, order("map_path", path=str(path), at=0, pages=PAGES)])
            result = verify(stage.system)
        reason = assert_only_false(result, ONE_FRAME)
        assert reason.startswith("nothing was mapped")
        assert str(path) in reason
        assert result.files == ()

    def test_copy_of_the_whole_segment_at_its_address(self) -> None:
        with Stage() as stage, disk_directory() as directory:
            stage.publish()
            path = directory / "segment"
            path.write_bytes(random_content())
            at = ADDRESS // PAGE_SIZE
            stage.guest([*map_all()[1:], order("map_path", path=str(path), at=at, pages=PAGES, area="window")])
            reason = assert_only_false(verify(stage.system), ONE_FRAME)
        assert f"{stage.window.start + ADDRESS:#x}" in reason

    def test_other_shared_memory_in_its_place(self) -> None:
        with Stage() as stage:
            stage.publish()
            other = Path(f"/dev/shm/dcss-test-{os.getpid()}-foreign")
            other.write_bytes(random_content(8, seed=3))
            try:
                stage.guest([*map_all(), order("map_path", path=str(other), at=9000, pages=8)])
            finally:
                other.unlink()
            assert str(other) in assert_only_false(verify(stage.system), ONE_FRAME)

    def test_page_that_is_not_mapped_does_not_count(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            stage.guest([DEVICE, order("map", at=0, page=8, pages=39)])
            result = verify(stage.system)
        assert_verified(result)
        assert "72 of 73 pages of 3 files" in detail(result, ONE_FRAME)
        assert "1 page not checked" in detail(result, ONE_FRAME)
        one = result.files[0]
        assert (one.pages, one.checked_pages, one.guests, one.shared) == (40, 39, ("LINUX01", "LINUX02"), True)

    def test_page_that_is_mapped_but_not_present_does_not_count(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([DEVICE, order("map", at=0, page=8, pages=40, touched=30)])
            result = verify(stage.system)
        assert_verified(result)
        assert result.files[0].checked_pages == 30

    def test_page_that_was_unmapped_again_does_not_count(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("unmap_pages", at=4, pages=2)])
            result = verify(stage.system)
        assert_verified(result)
        assert result.files[0].checked_pages == 38

    def test_file_of_which_nothing_is_present_is_left_open(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            stage.guest([DEVICE, *map_file(TWO, 0), order("map", at=1000, page=8, pages=40, touched=0)])
            result = verify(stage.system)
        claims = {claim.claim: claim.holds for claim in result.claims}
        assert claims == {ONE_FRAME: None, NO_COPIES: True, COUNTERS: True, PROTECTION: True}
        assert result.verdict == "unproved"
        assert detail(result, ONE_FRAME).startswith(
            "LIB:/lib/one.so: none of its 40 pages is present in every guest that maps it"
        )
        one = result.files[0]
        assert (one.path, one.checked_pages, one.shared) == ("/lib/one.so", 0, False)

    def test_a_mapped_file_of_which_not_all_pages_are_known_is_left_open(self) -> None:
        with Stage() as stage:
            stage.publish(files=(ONE._replace(damage="block map: found block 9"), TWO, THREE))
            stage.guest([DEVICE, *map_file(TWO, 0)])
            assert_verified(verify(stage.system))
            stage.guest(map_all())
            result = verify(stage.system)
        assert {claim.claim: claim.holds for claim in result.claims}[ONE_FRAME] is None
        assert result.verdict == "unproved"
        wanted = "LIB:/lib/one.so: not all of its pages are known: block map: found block 9"
        assert detail(result, ONE_FRAME) == wanted
        assert {file.path: file.shared for file in result.files}["/lib/one.so"] is False

    @pytest.mark.parametrize("at", [0, 17, 38], ids=["begin", "middle", "end"])
    @pytest.mark.parametrize("change", [False, True], ids=["equal", "changed"])
    def test_private_memory_in_place_of_pages(self, at: int, change: bool) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            stage.guest([*map_all(), order("replace", at=at, page=8 + at, pages=2, change=change)])
            result = verify(stage.system)
        reason = assert_only_false(result, *((ONE_FRAME,) if change else (ONE_FRAME, NO_COPIES)))
        address = stage.user_area.start + at * PAGE_SIZE
        assert f"guest LINUX02: at {address:#x} in its user area: 2 pages of private memory" in reason

    def test_a_whole_file_replaced_by_changed_memory(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([DEVICE, *map_file(TWO, 100), order("replace", at=0, page=8, pages=40, change=True)])
            assert "40 pages of private memory" in assert_only_false(verify(stage.system), ONE_FRAME)

    def test_memory_moved_over_pages(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("move_in", at=3, page=11, pages=4)])
            assert "4 pages of private memory" in assert_only_false(verify(stage.system), ONE_FRAME, NO_COPIES)

    def test_shared_anonymous_memory_in_place_of_pages(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("replace", at=3, page=11, pages=4, shared=True)])
            assert "a copy in the segment's place" in assert_only_false(verify(stage.system), ONE_FRAME, NO_COPIES)

    def test_zeros_of_its_own_are_no_hole(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("share_zeros", at=5000, pages=3)])
            assert "3 pages of private memory" in assert_only_false(verify(stage.system), ONE_FRAME)

    def test_what_a_program_wrote_in_its_own_range_is_its_own(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("replace", at=7000, page=11, pages=4, change=True)])
            start = stage.user_area.start + 7000 * PAGE_SIZE
            own = AddressRange(start, start + 3 * PAGE_SIZE)
            stage.guests[0] = replace(stage.guests[0], origins=((own, "program"),))
            reason = assert_only_false(verify(stage.system), ONE_FRAME)
            assert f"at {own.end:#x} in its user area: 1 page of private memory" in reason
            stage.guests[0] = replace(stage.guests[0], origins=((AddressRange(start, start + (1 << 20)), "program"),))
            assert_verified(verify(stage.system))

    def test_nothing_mapped(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([DEVICE])
            assert assert_only_false(verify(stage.system), ONE_FRAME).startswith("nothing was mapped")

    def test_one_guest_with_nothing_mapped(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            stage.guest([DEVICE])
            assert assert_only_false(verify(stage.system), ONE_FRAME) == "guest LINUX02: nothing was mapped"

    def test_written_private_page_at_the_segments_address(self) -> None:
        with Stage() as stage:
            stage.publish()
            device = order("device", address=ADDRESS, pages=PAGES, private=True)
            stage.guest([device, order("store", address=ADDRESS + 4096, text="changed"), *map_all()[1:]])
            reason = assert_only_false(verify(stage.system), ONE_FRAME)
        assert "LIB in its window: 1 of 1 page in a frame that is not CP's" in reason

    def test_written_private_page_at_user_level(self) -> None:
        with Stage() as stage:
            stage.publish()
            rewrite = order("rewrite", address=0, pages=3, area="user_area")
            stage.guest([DEVICE, order("map", at=0, page=8, pages=40, private=True), rewrite])
            result = verify(stage.system)
        reason = assert_only_false(result, ONE_FRAME, NO_COPIES)
        assert "guest LINUX01: LIB:/lib/one.so: 3 of 40 pages in a frame that is not CP's" in reason
        (one,) = result.files
        assert (one.checked_pages, one.distinct_frames, one.shared) == (40, 40, False)

    def test_written_page_of_an_exclusive_segment_is_the_guests_own(self) -> None:
        with Stage() as stage:
            stage.publish(kind=SegmentType.EW)
            device = order("device", address=ADDRESS, pages=PAGES, private=True)
            stage.guest([device, order("store", address=ADDRESS + 4096, text="changed"), *map_all()[1:]])
            assert_verified(verify(stage.system))

    def test_so_is_one_of_a_segment_that_it_loaded_non_shared(self) -> None:
        with Stage() as stage:
            subject = stage.publish()
            device = order("device", address=ADDRESS, pages=PAGES, private=True)
            written = [device, order("store", address=ADDRESS + 4096, text="changed"), *map_all()[1:]]
            stage.guest(written, non_shared=frozenset({subject.shm_name}))
            assert_verified(verify(stage.system))

    @pytest.mark.parametrize("kind", [SegmentType.ER, SegmentType.EW, SegmentType.SR])
    def test_segments_loaded_privately_are_no_subject(self, kind: SegmentType) -> None:
        with Stage() as stage:
            subject = stage.publish(kind=kind)
            non_shared = frozenset({subject.shm_name}) if kind is SegmentType.SR else frozenset[str]()
            device = order("device", address=ADDRESS, pages=PAGES, private=True)
            for _ in range(2):
                stage.guest([device], non_shared=non_shared)
            result = verify(stage.system)
        claims = {claim.claim: (claim.applies, claim.holds) for claim in result.claims}
        assert claims.pop(ONE_FRAME) == (False, None)
        assert set(claims.values()) == {(True, True)}
        why = "loaded non-shared" if kind is SegmentType.SR else f"type {kind.name}"
        assert detail(result, ONE_FRAME).startswith(f"LIB ({why}) in 2 guests: pages are the segment's until")
        assert (result.verdict, result.files) == ("verified", ())

    def test_shared_and_private_segments_beside_each_other(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.publish(random_content(16, seed=2), (), name="OWN", kind=SegmentType.EW)
            own = order("device", address=ADDRESS + (1 << 20), pages=16, private=True, segment=1)
            stage.guest(map_all())
            stage.guest([*map_all(), own])
            result = verify(stage.system)
            assert_verified(result)
            assert "; it does not apply to OWN (type EW) in guest LINUX02: pages are" in detail(result, ONE_FRAME)
            stage.guest([*map_all(), own, order("replace", at=3, page=11, pages=2, change=True)])
            assert_only_false(verify(stage.system), ONE_FRAME)

    def test_memfd_in_its_place_is_a_hidden_copy_too(self) -> None:
        with Stage() as stage:
            stage.publish()
            copy = Path(f"/dev/shm/dcss-test-{os.getpid()}-copy")
            copy.write_bytes(random_content())
            try:
                stage.guest([*map_all(), order("map_path", path=str(copy), at=9000, pages=PAGES)])
            finally:
                copy.unlink()
            assert_only_false(verify(stage.system), ONE_FRAME, NO_COPIES)


class TestBooksClose:
    def test_foreign_process_maps_the_segment(self) -> None:
        with Stage() as stage:
            segment = stage.publish()
            stage.guest(map_all())
            started, ready = os.pipe()
            foreign = os.fork()
            if foreign == 0:
                touched = os.pread(segment.descriptor, 1, 0)
                import mmap

                with mmap.mmap(segment.descriptor, 0, prot=mmap.PROT_READ) as mapped:
                    assert mapped[20 * PAGE_SIZE : 20 * PAGE_SIZE + 1]
                    os.write(ready, touched)
                    signal.pause()
            os.read(started, 1)
            try:
                reason = assert_only_false(verify(stage.system), COUNTERS)
            finally:
                os.kill(foreign, signal.SIGKILL)
                os.waitpid(foreign, 0)
                os.close(started)
                os.close(ready)
        assert re.match(
            r"segment LIB: \d+ pages? mapped more often than the system's processes map them; it is", reason
        )
        assert f"it is mapped by process {foreign} (" in reason

    def test_baselines_and_fork_server_count_as_the_systems_own(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            baseline = [order("storage", pages=64), order("device", address=ADDRESS, pages=PAGES, populate=True)]
            stage.guest([*baseline, order("read_into", address=0, page=8, pages=40)], expect="copies")
            assert_verified(verify(stage.system))


class TestProtection:
    def test_content_changed_behind_cps_back(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            with stage.path().open("r+b") as segment:
                segment.seek(5)
                segment.write(b"!")
            assert "its content has changed" in assert_only_false(verify(stage.system), PROTECTION)

    def test_guest_with_a_writable_descriptor(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("close"), order("keep_writable", path=str(stage.path()))])
            reason = assert_only_false(verify(stage.system), PROTECTION)
        assert "guest LINUX01: descriptor" in reason
        assert "pwrite: was allowed with a guest's own descriptor" in reason

    def test_guest_with_a_writable_mapping(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("map_writable", path=str(stage.path()))])
            assert "LIB is mapped writable at" in assert_only_false(verify(stage.system), PROTECTION)

    def test_guest_whose_mapping_could_be_made_writable(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("map_of_writable", path=str(stage.path()))])
            assert "mapped of a writable descriptor" in assert_only_false(verify(stage.system), PROTECTION)

    def test_without_a_guests_descriptor_cp_opens_one_and_says_so(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest([*map_all(), order("close")])
            result = verify(stage.system)
        assert_verified(result)
        assert "opened read-only by CP, as no guest keeps one open" in detail(result, PROTECTION)

    @pytest.mark.parametrize("kind", [SegmentType.SW, SegmentType.SN])
    def test_shared_writable_segments_are_not_protected(self, kind: SegmentType) -> None:
        with Stage() as stage:
            stage.publish(kind=kind, digest=None)
            stage.guest([*map_all(), order("keep_writable", path=str(stage.path()))])
            result = verify(stage.system)
        assert (result.claims[3].applies, result.claims[3].holds) == (False, None)
        assert "SW or SN" in detail(result, PROTECTION)
        assert result.verdict == "verified"


def baseline(*files: int) -> list[list[object]]:
    """Orders of a guest that copies files into its storage, page by page, at the page that the file has."""
    orders = [order("storage", pages=256), order("device", address=ADDRESS, pages=PAGES)]
    return orders + [
        order("read_into", address=page * PAGE_SIZE, page=page, pages=pages)
        for index in files
        for _, page, pages in FILES[index].runs
    ]


class TestBaselines:
    def test_baselines_that_copy(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            for _ in range(2):
                stage.guest(baseline(0, 1, 2), expect="copies")
            result = verify(stage.system)
        assert_verified(result)
        assert "6 files (146 pages) in 2 baseline guests" in detail(result, BASELINES)
        assert all(file.guests == ("LINUX01",) for file in result.files)

    def test_baseline_that_maps_the_segment(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            stage.guest([*baseline(0), *map_file(TWO, 0)], expect="copies")
            reason = assert_only_false(verify(stage.system), BASELINES)
        assert "guest LINUX02: segment object /dev/shm/" in reason

    def test_baseline_that_maps_a_file_of_the_host(self) -> None:
        with Stage() as stage, disk_directory() as directory:
            stage.publish()
            (directory / "two.so").write_bytes(bytes(4096))
            stage.guest(map_all())
            path = str(directory / "two.so")
            stage.guest([*baseline(0), order("map_path", path=path, at=0, pages=1)], expect="copies")
            assert path in assert_only_false(verify(stage.system), BASELINES)

    def test_baselines_that_share_one_copy(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            copy = Path(f"/dev/shm/dcss-test-{os.getpid()}-copy")
            copy.write_bytes(random_content()[8 * PAGE_SIZE : 48 * PAGE_SIZE])
            try:
                for _ in range(2):
                    share = [order("share", path=str(copy), touched=40)]
                    stage.guest([*baseline(), *share], expect="copies")
            finally:
                copy.unlink()
            reason = assert_only_false(verify(stage.system), BASELINES)
        assert "guest LINUX02: 40 pages, the first at" in reason
        assert "in frames that others map as well" in reason

    def test_copy_inherited_from_the_fork_server_is_shared(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.fork_server_keeps()
            stage.guest(baseline(), expect="copies")
            reason = detail(verify(stage.system), BASELINES)
        assert "guest LINUX01: 96 pages" in reason

    def test_file_that_is_copied_in_part(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            orders = [*baseline(0), order("read_into", address=300 * 512, page=48, pages=16)]
            stage.guest(orders, expect="copies")
            assert "/lib/two.so: 16 of 32 pages not found" in assert_only_false(verify(stage.system), BASELINES)

    def test_content_that_another_file_has_across_pages_does_not_confuse_it(self) -> None:
        with Stage() as stage:
            # Two pages of the second file lie in the first one, 128 bytes further on.
            random = random_content(40, seed=4)
            shifted = random[128 : 128 + 2 * PAGE_SIZE]
            content = random + shifted + random_content(2, seed=5)
            stage.publish(content, (File(b"/first", ((0, 0, 40),)), File(b"/second", ((0, 40, 4),))))
            stage.guest([order("map", at=0, page=0, pages=44)])
            reads = [order("storage", pages=64), order("read_into", address=0, page=0, pages=40)]
            stage.guest(reads, expect="copies")
            assert_verified(verify(stage.system))

    def test_equal_versions_of_a_segment_do_not_confuse_it(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.publish(name="LIB.0001")
            stage.guest(map_all())
            stage.guest(baseline(0, 1, 2), expect="copies")
            assert_verified(verify(stage.system))

    def test_nothing_read(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            stage.guest(baseline(), expect="copies")
            assert "guest LINUX02: nothing was read" in assert_only_false(verify(stage.system), BASELINES)

    def test_only_baselines_are_judged_by_the_claims_that_apply(self) -> None:
        with Stage() as stage:
            stage.publish()
            stage.guest(baseline(0), expect="copies")
            result = verify(stage.system)
        assert result.verdict == "verified"
        assert [claim.applies for claim in result.claims] == [False, False, True, True, True]
        assert [claim.holds for claim in result.claims] == [None, None, True, True, True]
