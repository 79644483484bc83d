"""Copies that were found, grouped for the reader: by file, by the piece of memory, and by who made them."""

import os

import numpy as np
import pytest
from segment_support import File, random_content
from verdict_support import guest, segment

from dcss.abi.page import PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.memory_map import MemoryMap
from dcss.account.pagemap import Flags
from dcss.account.space import ProcessPages
from dcss.account.targets import AddressRange, GuestTarget, Origin
from dcss.verify.descriptors import FileDescriptor
from dcss.verify.search.copies import copies_in_detached, copies_in_object, copies_in_process, holder_name
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.results import Copies
from dcss.verify.search.searcher import Hits
from dcss.verify.search.shared_objects import Reachable

VMAS = (
    Vma(0x10000, 0x20000, "rw-p", 0, 0, 0, b"[heap]"),
    Vma(0x20000, 0x30000, "rw-p", 0, 0, 0, b"[heap]"),
    Vma(0x30000, 0x40000, "---p", 0, 0, 0, b""),
    Vma(0x50000, 0x60000, "rw-p", 0, 1, 9, b"/usr/lib/x"),
)
SPACE = ProcessPages(7, MemoryMap.of(VMAS), np.zeros(0, np.int64), np.zeros(0, np.uint64))
ORIGINS: tuple[tuple[AddressRange, Origin], ...] = (
    (AddressRange(0x11000, 0x12000), "engine"),
    (AddressRange(0x11000, 0x13000), "modules"),
    (AddressRange(0x50000, 0x60000), "program"),
)
ONE = GuestTarget("ONE", "process", (7,), "shared", 0, AddressRange(0, 0), AddressRange(0, 0), ORIGINS)


@pytest.fixture(scope="module")
def contents() -> Contents:
    """LOWER and UPPER are one file system, with /x in both; ALONE has /w and a page of no file."""
    joined = ("LOWER", "UPPER")
    segments = [
        segment("ALONE", random_content(3, 21), (File(b"/w", ((0, 1, 2),)),)),
        segment("UPPER", random_content(2, 22), (File(b"/x", ((1, 0, 1),)), File(b"/z", ((0, 1, 1),))), joined=joined),
        segment("LOWER", random_content(2, 23), (File(b"/x", ((0, 1, 1),)),), joined=joined),
    ]
    return Contents.of(segments)


def found(contents: Contents, *pages: tuple[int, int, int], holder: GuestTarget | None = ONE) -> list[Copies]:
    """What (address, segment's place, page) are grouped to."""
    ascending = sorted(pages)
    hits = Hits(
        np.array([address for address, _, _ in ascending], np.int64),
        np.array([contents.of_page[place][page] for _, place, page in ascending], np.int64),
    )
    engine: Flags = np.zeros(len(ascending), np.bool_)
    return copies_in_process(contents, holder, SPACE, hits, engine=engine)


HEAP = "private memory [heap] of process 7 at "


def test_pages_of_a_file_in_one_place_are_one_line(contents: Contents) -> None:
    pages = ((0x2F001, 0, 1), (0x14000, 0, 2), (0x15000, 0, 2))
    assert found(contents, *pages) == [Copies("guest ONE", "kernel", "ALONE", "/w", 2, f"{HEAP}0x14000")]
    assert found(contents) == []


def test_a_file_over_several_segments_is_one(contents: Contents) -> None:
    pages = ((0x14000, 1, 0), (0x15000, 2, 1))
    assert found(contents, *pages) == [Copies("guest ONE", "kernel", "LOWER:UPPER", "/x", 2, f"{HEAP}0x14000")]


def test_pages_of_no_file_are_their_segments(contents: Contents) -> None:
    lines = found(contents, (0x14000, 0, 0), (0x15000, 2, 0), (0x16000, 1, 1))
    assert sorted((line.segment, line.path or "", line.pages) for line in lines) == [
        ("ALONE", "", 1),
        ("LOWER", "", 1),
        ("UPPER", "/z", 1),
    ]


def test_where_it_lies_is_named(contents: Contents) -> None:
    lines = found(contents, (0x10000, 0, 1), (0x30000, 0, 1), (0x5F000, 0, 1), (0x50000, 0, 2))
    assert sorted((line.where, line.pages, line.origin) for line in lines) == [
        ("a written private mapping of /usr/lib/x at 0x50000", 2, "program"),
        (f"{HEAP}0x10000", 1, "kernel"),
        ("private memory without access (PROT_NONE) of process 7 at 0x30000", 1, "kernel"),
    ]


def test_the_first_range_that_holds_an_address_says_whose_it_is(contents: Contents) -> None:
    addresses = {0x10FFF: "kernel", 0x11000: "engine", 0x11FFF: "engine", 0x12000: "modules", 0x13000: "kernel"}
    for address, origin in addresses.items():
        assert [line.origin for line in found(contents, (address, 0, 1))] == [origin]
        (line,) = found(contents, (address, 0, 1), holder=None)
        assert (line.origin, line.holder) == ("kernel", "the fork server")


def test_what_the_engines_files_explain_is_the_engines(contents: Contents) -> None:
    hits = Hits(np.array([0x14000, 0x15000]), np.array([contents.of_page[0][1], contents.of_page[0][2]]))
    lines = copies_in_process(contents, ONE, SPACE, hits, engine=np.array([False, True]))
    assert [(line.origin, line.where) for line in lines] == [("kernel", f"{HEAP}0x14000"), ("engine", f"{HEAP}0x15000")]


def test_copies_in_objects(contents: Contents) -> None:
    hits = np.array([contents.of_page[place][page] for place, page in ((0, 1), (0, 2), (0, 1), (2, 1), (0, 0))])
    mapped = Reachable((1, 2), "/dev/shm/x", [(7, VMAS[0]._replace(start=0x11000)), (8, VMAS[1])])
    where = "shared memory /dev/shm/x at 0x11000"
    lines = copies_in_object(contents, ONE, mapped, hits)
    assert sorted(lines, key=lambda line: (line.segment, line.path or "")) == [
        Copies("guest ONE", "engine", "ALONE", None, 1, where),
        Copies("guest ONE", "engine", "ALONE", "/w", 2, where),
        Copies("guest ONE", "engine", "LOWER:UPPER", "/x", 1, where),
    ]
    assert copies_in_object(contents, ONE, mapped, hits[:0]) == []


def test_copies_in_what_is_only_open(contents: Contents) -> None:
    descriptor = os.memfd_create("held")
    try:
        held = Reachable((1, 2), "", opened=[FileDescriptor(os.getpid(), descriptor, 1, 2)])
        (line,) = copies_in_object(contents, ONE, held, contents.of_page[0][1:2])
        where = f"/memfd:held (deleted), held open as descriptor {descriptor} and not mapped"
        assert line == Copies("guest ONE", "kernel", "ALONE", "/w", 1, where)
        assert copies_in_object(contents, ONE, held, contents.of_page[0][:0]) == []
    finally:
        os.close(descriptor)


def test_copies_in_a_detached_segment(contents: Contents) -> None:
    hits = contents.of_page[0][[1, 2, 1]]
    where = "System V segment 33, which nobody has attached"
    assert copies_in_detached(contents, ONE, 33, hits) == [Copies("guest ONE", "kernel", "ALONE", "/w", 2, where)]
    assert copies_in_detached(contents, ONE, 33, hits[:0]) == []


def test_words() -> None:
    assert (holder_name(None), holder_name(guest("TWO", []).target)) == ("the fork server", "guest TWO")
    line = Copies("guest ONE", "kernel", "LIB", None, 1, "there")
    assert str(line) == "guest ONE (kernel): 1 page of LIB:file system metadata in there"
    assert str(line._replace(path="/f", pages=PAGE_SIZE)) == "guest ONE (kernel): 4,096 pages of LIB:/f in there"
