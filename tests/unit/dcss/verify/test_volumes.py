"""File systems over one segment or several that adjoin: their pages, their files, and what guests have of these."""

import numpy as np
import pytest
from segment_support import File, unmapped
from verdict_support import guest, segment, snapshot

from dcss.results import FileProof
from dcss.verify.files import file_proofs, file_tallies
from dcss.verify.segment_view import NO_FILE, SegmentFiles, SegmentView
from dcss.verify.volumes import volumes_of

X_LOWER, X_UPPER = File(b"/x", ((0, 2, 3),), "too short"), File(b"/x", ((3, 0, 2),))
Y, Z, W = File(b"/y", ((0, 6, 2),)), File(b"/z", ((0, 4, 1),), "torn"), File(b"/w", ((0, 0, 2), (2, 4, 1)))


def segments() -> list[SegmentView]:
    """One by itself, and two that are one file system: the lower one comes last."""
    joined = ("LOWER", "UPPER")
    return [
        segment("ALONE", 6, (W,)),
        segment("UPPER", 5, (X_UPPER, Z), joined=joined),
        segment("LOWER", 8, (X_LOWER, Y), joined=joined),
    ]


def test_file_systems_are_in_the_order_of_their_first_segments() -> None:
    alone, both = volumes_of(segments())
    assert [(volume.name, volume.places, volume.pages, volume.first_pages) for volume in (alone, both)] == [
        ("ALONE", (0,), 6, [0]),
        ("LOWER:UPPER", (2, 1), 13, [0, 8]),
    ]
    last = [segments()[number] for number in (2, 1, 0)]
    assert [(volume.name, volume.places) for volume in volumes_of(last)] == [("LOWER:UPPER", (0, 1)), ("ALONE", (2,))]


def test_files_lie_by_page_of_the_whole() -> None:
    files = volumes_of(segments())[1].files
    assert files.paths == ("/x", "/y", "/z")
    assert files.damage == ("", "", "torn")
    assert files.pages.tolist() == [2, 3, 4, 8, 9, 6, 7, 12]
    assert files.starts.tolist() == [0, 5, 7]
    assert files.counts.tolist() == [5, 2, 1]
    none = NO_FILE
    assert files.owner.tolist() == [none, none, 0, 0, 0, none, 1, 1, 0, 0, none, none, 2]
    wanted = np.zeros(13, np.bool_)
    wanted[[0, 2, 4, 9, 12]] = True
    assert files.count(wanted).tolist() == [3, 0, 1]


def test_a_file_is_named_with_the_segments_that_hold_pages_of_it() -> None:
    alone, both = volumes_of(segments())
    assert [both.segments_of(file) for file in range(3)] == ["LOWER:UPPER", "LOWER", "UPPER"]
    assert both.label(1) == "LOWER:/y"
    assert alone.label(0) == "ALONE:/w"


def test_segments_without_files_can_be_joined_too() -> None:
    nothing = SegmentFiles.joined([(SegmentFiles.of((), 2), 2), (SegmentFiles.of((), 3), 3)])
    assert (nothing.paths, nothing.owner.tolist()) == ((), [NO_FILE] * 5)
    assert nothing.count(np.ones(5, np.bool_)).tolist() == []


def test_pages_of_a_file_lie_inside_the_segment() -> None:
    assert SegmentFiles.of([File(b"/f", ((0, 0, 4),))], 4).pages.tolist() == [0, 1, 2, 3]
    for page, pages in ((-1, 2), (3, 2), (4, 1), (1, 0), (2, -1)):
        with pytest.raises(ValueError, match=f"file /f: found pages {page} to {page + pages - 1}, wanted pages of a"):
            SegmentFiles.of([File(b"/f", ((0, page, pages),))], 4)


def test_files_of_a_segment_lie_in_the_order_of_their_runs() -> None:
    files = SegmentFiles.of([File(b"/empty", ()), W, File(b"/late", ((0, 4, 2),))], 6)
    assert files.paths == ("/w", "/late")
    assert (files.pages.tolist(), files.starts.tolist(), files.counts.tolist()) == ([0, 1, 4, 4, 5], [0, 3], [3, 2])
    assert files.owner.tolist() == [0, 0, NO_FILE, NO_FILE, 1, 1]  # the last one has what two have


def test_an_object_that_was_cut_short_is_named_with_what_it_lost() -> None:
    whole = segment("WHOLE", 4)
    assert whole.why_cut_short() is None
    short = segment("SHORT", 4, size_bytes=4 * 4096 + 1)
    assert "found 16,384 bytes, wanted 16,385; 0 pages lost" in (short.why_cut_short() or "")
    assert unmapped(bytes(8192)).why_cut_short() is None


def test_what_guests_have_of_files() -> None:
    views = segments()
    one, two, blind = (guest(name, views) for name in ("ONE", "TWO", "BLIND"))
    copying = guest("COPY", views, expect="copies")
    blind.denied = "closed"
    lower, upper = one.segments[2], one.segments[1]
    lower.mapped[2:5] = lower.proved[2:5] = True
    upper.mapped[:2] = upper.proved[:1] = True
    upper.mapped[4] = upper.wrong[4] = True
    # Of /z a page in another frame, and one in swap that no file holds.
    upper.strange.append((np.array([4, 3]), np.array([999, 0], np.uint64)))
    two.segments[2].mapped[2:5] = two.segments[2].proved[2:5] = True
    two.segments[2].mapped[6:8] = two.segments[2].proved[6:8] = True
    two.segments[0].mapped[0] = True
    for other in (blind, copying):
        other.segments[0].mapped[:] = True
    taken = snapshot(views, [one, two, blind, copying])
    tallies = file_tallies(taken)
    assert file_proofs(taken, tallies) == [
        FileProof("ALONE", "/w", 3, 0, ("TWO",), 0, shared=False),
        FileProof("LOWER:UPPER", "/x", 5, 3, ("ONE", "TWO"), 4, shared=True),
        FileProof("LOWER", "/y", 2, 2, ("TWO",), 2, shared=True),
        FileProof("UPPER", "/z", 1, 1, ("ONE",), 1, shared=False),
    ]
    assert [tally.row_of for tally in tallies] == [[0, 1], [0, 1]]
    taken.frames = False
    assert {proof.distinct_frames for proof in file_proofs(taken, tallies)} == {None}


def test_guests_in_which_segments_look_alike_have_one_row() -> None:
    views = segments()
    guests = [guest(name, views) for name in ("ONE", "TWO", "THREE")]
    guests[2].segments[1] = guests[0].segments[1]
    guests[2].segments[2] = guests[0].segments[2]
    guests[0].segments[1].mapped[0] = guests[0].segments[1].proved[0] = True
    taken = snapshot(views, guests)
    alone, both = file_tallies(taken)
    assert (alone.row_of, both.row_of, len(both.rows)) == ([0, 1, 2], [0, 1, 0], 2)
    (proof,) = file_proofs(taken, [alone, both])
    assert (proof.path, proof.guests, proof.distinct_frames) == ("/x", ("ONE", "THREE"), 1)


def test_a_file_of_which_not_all_is_known_is_not_shared() -> None:
    views = [segment("ONE", 6, (X_LOWER,))]
    mapping = guest("ONE", views)
    mapping.segments[0].mapped[2:5] = mapping.segments[0].proved[2:5] = True
    taken = snapshot(views, [mapping])
    (proof,) = file_proofs(taken, file_tallies(taken))
    assert (proof.checked_pages, proof.shared) == (3, False)
