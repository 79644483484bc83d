"""Claim 1, on made-up page tables: what refutes it, what leaves it open, and what the sentence says."""

import numpy as np
import pytest
from segment_support import File
from verdict_support import USER_AREA, WINDOW, guest, segment, snapshot

from dcss.abi.extmem import SegmentType
from dcss.account.maps import Vma
from dcss.results import Claim
from dcss.verify.claims import one_frame
from dcss.verify.private_pages import PrivatePages
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import GuestView, Snapshot

FILES = (File(b"/one", ((0, 1, 4),)), File(b"/two", ((0, 5, 1),)))


def mapping(name: str, views: list[SegmentView], pages: slice, present: int | None = None) -> GuestView:
    """A guest that maps pages of the first segment, the first `present` of which are right and the rest not there."""
    view = guest(name, views)
    view.segments[0].mapped[pages] = True
    view.segments[0].proved[np.arange(len(view.segments[0].mapped))[pages][:present]] = True
    return view


ONE, BOTH = slice(1, 5), slice(1, 6)


def system(*guests: tuple[slice, int | None], kind: SegmentType = SegmentType.SR, damage: str = "") -> Snapshot:
    files = (FILES[0]._replace(damage=damage), FILES[1])
    views = [segment("LIB", 8, files, type=kind), segment("OTHER", 2)]
    names = ("A", "B", "C")
    return snapshot(views, [mapping(name, views, *what) for name, what in zip(names, guests, strict=False)])


def judged(taken: Snapshot) -> tuple[bool | None, str]:
    claim = one_frame.judge(taken)
    assert (claim.claim, claim.applies) == ("one-frame-per-page", True)
    return claim.holds, claim.detail


@pytest.mark.parametrize(
    ("guests", "sentence"),
    [
        ([(BOTH, None), (BOTH, None)], "5 pages of 2 files, mapped by 2 guests: each present, and"),
        ([(ONE, None), (BOTH, None)], "5 pages of 2 files, mapped by 2 guests: each present, and"),
        ([(slice(5, 6), None)], "1 page of 1 file, mapped by 1 guest: each present, and"),
        ([(ONE, 3), (ONE, None)], "3 of 4 pages of 1 file, mapped by 2 guests: each"),
        ([(ONE, None), (ONE, 2)], "2 of 4 pages of 1 file, mapped by 2 guests: each"),
    ],
)
@pytest.mark.parametrize("frames", [True, False])
def test_what_is_mapped_is_counted(guests: list[tuple[slice, int | None]], sentence: str, frames: bool) -> None:
    taken = system(*guests)
    taken.frames = frames
    how = "in the frame that CP's mapping holds" if frames else "a page of the segment's object at its offset"
    holds, detail = judged(taken)
    assert holds is True
    assert detail.startswith(f"{sentence} {how}")


@pytest.mark.parametrize(("present", "words"), [(3, "1 page"), (2, "2 pages")])
def test_what_was_not_checked_is_said(present: int, words: str) -> None:
    end = f"; {words} not checked, since some guest has not touched them"
    assert judged(system((ONE, present)))[1].endswith(end)


def test_a_file_of_which_no_page_is_present_in_all_leaves_it_open() -> None:
    holds, detail = judged(system((BOTH, 4)))
    assert holds is None
    assert detail == (
        "LIB:/two: none of its 1 page is present in every guest that maps it (a map: step makes all of them present)"
    )


def test_a_mapped_file_of_which_not_all_is_known_leaves_it_open() -> None:
    holds, detail = judged(system((ONE, None), damage="cut"))
    assert (holds, detail) == (None, "LIB:/one: not all of its pages are known: cut")
    assert judged(system((slice(5, 6), None), damage="cut"))[0] is True


def test_closed_books_leave_it_open() -> None:
    taken = system((ONE, None), (ONE, None))
    taken.guests[1].denied = "closed"
    assert judged(taken) == (None, "guest B: closed")
    taken = system((ONE, None))
    taken.guests[0].denied = "closed"
    assert judged(taken) == (None, "guest A: closed")


@pytest.mark.parametrize(("wrong", "words"), [([2], "1 of 4 pages"), ([1, 3], "2 of 4 pages")])
def test_wrong_pages_of_a_file(wrong: list[int], words: str) -> None:
    taken = system((ONE, None), (BOTH, None))
    taken.guests[1].segments[0].wrong[wrong] = True
    assert judged(taken) == (False, f"guest B: LIB:/one: {words} in a frame that is not CP's")


@pytest.mark.parametrize(("wrong", "words"), [([0], "1 page"), ([0, 7], "2 pages")])
def test_wrong_pages_of_no_file(wrong: list[int], words: str) -> None:
    taken = system((ONE, None))
    taken.guests[0].segments[0].wrong[wrong] = True
    assert judged(taken) == (False, f"guest A: LIB: {words} of no file in a frame that is not CP's")


def test_wrong_pages_below_the_window() -> None:
    taken = system((ONE, None))
    taken.guests[0].segments[1].device_pages = 9
    assert judged(taken)[0] is True
    taken.guests[0].segments[1].device_wrong = 2
    assert judged(taken) == (False, "guest A: OTHER in its window: 2 of 9 pages in a frame that is not CP's")


def test_what_lies_in_a_segments_place() -> None:
    taken = system((ONE, None))
    vma = Vma(WINDOW.start, WINDOW.start + 8192, "r--p", 0, 1, 77, b"/copy")
    taken.guests[0].foreign_mappings += [vma, vma._replace(end=WINDOW.start + 4096, path=b"")]
    taken.guests[0].intruders += [PrivatePages(7, USER_AREA.start, 1)]
    assert judged(taken) == (
        False,
        "guest A: at 0x1000000 lies /copy (inode 77), 2 pages of no segment: a copy in the segment's place; "
        "guest A: at 0x1000000 lies an object without a name (inode 77), 1 page of no segment: a copy in the segment's"
        " place; "
        "guest A: at 0x3000000 in its user area: 1 page of private memory (process 7), where pages of a segment's file"
        " should be",
    )


def test_a_guest_that_maps_nothing() -> None:
    assert judged(system((ONE, None), (slice(0, 0), None))) == (False, "guest B: nothing was mapped")
    assert judged(system((slice(0, 0), None))) == (
        False,
        "nothing was mapped: no guest that shares has a page of a segment's file mapped; guest A: nothing was mapped",
    )


@pytest.mark.parametrize(("absent", "words"), [(1, "1 page"), (3, "3 pages")])
def test_pages_that_cp_itself_lacks_come_first(absent: int, words: str) -> None:
    taken = system((slice(0, 0), None))
    taken.cp_entries[1][:] = 1 << 63
    taken.cp_entries[0][:absent] = 0
    parts = judged(taken)[1].split("; ")
    assert parts[0].startswith("nothing was mapped")
    assert parts[1] == f"segment LIB: {words} absent from CP's own mapping at 0x0"


class TestPrivateLoads:
    """Types ER, EW and EN, and loads that are not shared: what is written there becomes the guest's own."""

    COPY_ON_WRITE = "pages are the segment's until a guest writes them (copy on write)"

    @pytest.mark.parametrize(("kind", "why"), [(SegmentType.ER, "type ER"), (SegmentType.SR, "loaded non-shared")])
    def test_it_does_not_apply(self, kind: SegmentType, why: str) -> None:
        taken = system((slice(0, 0), None), kind=kind)
        taken.guests[0].private_loads = {0}
        assert one_frame.judge(taken) == Claim(
            "one-frame-per-page",
            None,
            f"LIB ({why}) in guest A: {self.COPY_ON_WRITE}, and no other segment is mapped",
            applies=False,
        )

    def test_other_guests_are_judged_all_the_same(self) -> None:
        taken = system((ONE, None), (slice(0, 0), None), (slice(0, 0), None))
        taken.guests[1].private_loads = taken.guests[2].private_loads = {0, 1}
        holds, detail = judged(taken)
        assert holds is True
        loads = "LIB (loaded non-shared) in 2 guests; OTHER (loaded non-shared) in 2 guests"
        assert detail.endswith(f"; it does not apply to {loads}: {self.COPY_ON_WRITE}")

    def test_a_guest_that_maps_nothing_beside_one_that_loads_privately(self) -> None:
        taken = system((slice(0, 0), None), (slice(0, 0), None))
        taken.guests[1].private_loads = {0}
        holds, detail = judged(taken)
        assert holds is False
        assert detail.endswith("file mapped; guest A: nothing was mapped")


def test_it_does_not_apply_where_no_guest_shares() -> None:
    taken = system()
    taken.guests.append(guest("COPIES", taken.segments, expect="copies"))
    assert one_frame.judge(taken) == Claim("one-frame-per-page", None, "no guest is expected to share", applies=False)
