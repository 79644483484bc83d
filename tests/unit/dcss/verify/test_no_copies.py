"""Claim 2, on made-up findings: which copies refute it, which are listed, and what leaves it open."""

from dataclasses import replace

import pytest
from verdict_support import guest, segment, snapshot

from dcss.abi.extmem import SegmentType
from dcss.account.targets import Origin
from dcss.results import Claim
from dcss.verify.claims import no_copies
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.results import Copies, MemoryFindings
from dcss.verify.snapshot import Snapshot


def copies(origin: Origin, path: str | None = "/f", segment_name: str = "LIB", pages: int = 2) -> Copies:
    return Copies("guest ONE", origin, segment_name, path, pages, "private memory at 0x1000")


def searched(*found: Copies, kind: SegmentType = SegmentType.SR) -> Snapshot:
    """Two guests that share, and one that copies and holds all; `found` is the first one's."""
    views = [segment("LIB", 2, type=kind), segment("OTHER", 2)]
    guests = [guest("ONE", views), guest("TWO", views), guest("COPIES", views, expect="copies")]
    taken = snapshot(views, guests)
    taken.search.contents = Contents.of(views)
    taken.search.others = [MemoryFindings(searched_pages=100)]
    taken.search.guests = {
        "ONE": MemoryFindings(copies=list(found), searched_pages=20),
        "TWO": MemoryFindings(searched_pages=3),
        "COPIES": MemoryFindings(copies=[copies("kernel")], searched_pages=4000, denied=["its own"]),
    }
    return taken


HELD = "123 private pages of 2 guests and the fork server: none holds a page of a segment, at any byte offset"
LINE = "guest ONE ({}): 2 pages of LIB:{} in private memory at 0x1000"


def test_nothing_found() -> None:
    assert no_copies.judge(searched()) == Claim("no-hidden-copies", True, HELD)


def test_one_guest_and_one_page() -> None:
    taken = searched()
    del taken.guests[1]
    taken.search.others[0].searched_pages = 0
    taken.search.guests["ONE"].searched_pages = 1
    assert no_copies.judge(taken).detail.startswith("1 private page of 1 guest and the fork server: ")
    taken.search.others += [MemoryFindings(searched_pages=1), MemoryFindings(searched_pages=1)]
    holders = "1 guest and the 3 processes that guests are forked from"
    assert no_copies.judge(taken).detail.startswith(f"3 private pages of {holders}: ")


@pytest.mark.parametrize("path", ["/f", None])
def test_copies_of_a_guest_kernel_refute(path: str | None) -> None:
    line = LINE.format("kernel", path or "file system metadata")
    assert no_copies.judge(searched(copies("engine"), copies("kernel", path))) == Claim("no-hidden-copies", False, line)


def test_copies_of_the_fork_server_refute() -> None:
    taken = searched()
    taken.search.others[0].copies.append(copies("kernel")._replace(holder="the fork server", pages=1))
    claim = no_copies.judge(taken)
    assert claim.detail == "the fork server (kernel): 1 page of LIB:/f in private memory at 0x1000"
    assert claim.holds is False


def test_copies_of_others_are_listed() -> None:
    claim = no_copies.judge(searched(copies("engine"), copies("modules"), copies("program", "/g")))
    assert claim.holds is True
    assert claim.detail == (
        f"{HELD}; not the guest kernels' own: {LINE.format('engine', '/f')}; {LINE.format('program', '/g')}"
        f"; the kernel and its modules, which are always copied: {LINE.format('modules', '/f')}"
    )


def test_metadata_of_a_segment_that_guests_write_is_in_buffers() -> None:
    buffers = copies("kernel", None)
    claim = no_copies.judge(searched(buffers, kind=SegmentType.SW))
    detail = f"{HELD}; buffers of a segment that can be written: {LINE.format('kernel', 'file system metadata')}"
    assert claim == Claim("no-hidden-copies", True, detail)
    for copy in (copies("kernel"), copies("kernel", None, "OTHER")):  # files, and another segment's metadata
        claim = no_copies.judge(searched(buffers, copy, kind=SegmentType.SW))
        assert claim == Claim("no-hidden-copies", False, str(copy))


def test_a_real_kernel_keeps_metadata_in_buffers_and_files_nowhere() -> None:
    metadata = copies("kernel", None)
    taken = searched(metadata)
    taken.guests[0].target = replace(taken.guests[0].target, buffering=True)
    claim = no_copies.judge(taken)
    own = "blocks of a file system itself, which whatever kernel mounts it keeps in buffers"
    assert claim == Claim("no-hidden-copies", True, f"{HELD}; {own}: {metadata}")
    taken.search.guests["ONE"].copies.append(copies("kernel"))
    assert no_copies.judge(taken).holds is False
    taken.guests[0].target = replace(taken.guests[0].target, buffering=False)
    taken.guests[1].target = replace(taken.guests[1].target, buffering=True)
    taken.search.guests["ONE"].copies = [metadata]
    assert no_copies.judge(taken).holds is False, "another guest's kernel"


@pytest.mark.parametrize("kind", ["denied", "unsearched", "kernel_held"])
@pytest.mark.parametrize("whose", ["guest", "other"])
def test_memory_that_was_not_searched_leaves_it_open(kind: str, whose: str) -> None:
    taken = searched(copies("engine"))
    findings = taken.search.guests["TWO"] if whose == "guest" else taken.search.others[0]
    getattr(findings, kind).append("why")
    assert no_copies.judge(taken) == Claim("no-hidden-copies", None, "not all memory could be searched: why")
    taken.search.guests["ONE"].copies.append(copies("kernel"))
    assert no_copies.judge(taken).holds is False


def test_closed_books_lost_pages_and_no_contents_leave_it_open() -> None:
    taken = searched()
    taken.guests[0].denied = "closed"
    assert no_copies.judge(taken).detail == "not all memory could be searched: guest ONE: closed"
    taken = snapshot([segment("LIB", 1, size_bytes=8192)], [guest("ONE", [])])
    taken.search.guests = {"ONE": MemoryFindings()}
    claim = no_copies.judge(taken)
    assert claim.detail.startswith("not all memory could be searched: segment LIB: object /LIB was cut short: ")
    assert claim.detail.endswith("; no segment has a page that could be told from others")
    assert claim.holds is None


def test_descriptors_that_could_not_be_seen_leave_it_open() -> None:
    taken = searched()
    taken.search.guests["TWO"].closed_descriptors += ["first", "second"]
    assert no_copies.judge(taken) == Claim("no-hidden-copies", None, "not all descriptors could be seen: first")


def test_it_does_not_apply_where_no_guest_shares() -> None:
    taken = searched()
    del taken.guests[:2]
    assert no_copies.judge(taken) == Claim("no-hidden-copies", None, "no guest is expected to share", applies=False)
