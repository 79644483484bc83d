"""Private pages in a guest's user area: which are the guest's own, whether or not frames are shown."""

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs_support import needs

from dcss.abi.page import PAGE_SIZE
from dcss.account.space import ProcessPages
from dcss.account.targets import AddressRange, GuestTarget, Origin
from dcss.verify.private_pages import private_pages

PAGES = 12
SHOWN = [pytest.param(True, marks=needs("frames")), False]


@pytest.fixture
def first() -> Iterator[int]:
    """Address of pages of this process: 1, 2, 4 and 9 are written, the latter with zeros; 0, 5, 6 and 11 were read."""
    with mmap.mmap(-1, PAGES * PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page, content in ((1, b"a"), (2, b"b"), (4, b"c"), (9, b"\0")):
            memory[page * PAGE_SIZE : page * PAGE_SIZE + 1] = content
        for page in (0, 5, 6, 11):
            memory[page * PAGE_SIZE]
        address = ctypes.addressof(view := ctypes.c_char.from_buffer(memory))
        del view
        yield address


def found(area: AddressRange, *, frames: bool, origins: tuple[tuple[AddressRange, Origin], ...] = ()) -> list[int]:
    """The pages in `area` that are private, from its start on."""
    pid = os.getpid()
    target = GuestTarget("ONE", "process", (pid,), "shared", 0, AddressRange(0, 0), area, origins)
    runs = private_pages(ProcessPages.read(pid), target, frames=frames)
    assert {run.pid for run in runs} <= {pid}
    starts = [(run.address - area.start) // PAGE_SIZE for run in runs]
    assert starts == sorted(starts)
    return [start + page for start, run in zip(starts, runs, strict=True) for page in range(run.pages)]


def pages(first: int, start: int, end: int) -> AddressRange:
    return AddressRange(first + start * PAGE_SIZE, first + end * PAGE_SIZE)


@pytest.mark.parametrize("frames", SHOWN)
def test_written_pages_are_found_and_pages_that_were_only_read_are_not(first: int, frames: bool) -> None:
    assert found(pages(first, 0, PAGES), frames=frames) == [1, 2, 4, 9]


@pytest.mark.parametrize("frames", SHOWN)
def test_only_the_user_area_is_looked_at(first: int, frames: bool) -> None:
    assert found(pages(first, 2, 9), frames=frames) == [0, 2]
    assert found(pages(first, 4, 10), frames=frames) == [0, 5]
    assert found(pages(first, 5, 9), frames=frames) == []


@pytest.mark.parametrize("frames", SHOWN)
def test_ranges_of_programs_are_their_own(first: int, frames: bool) -> None:
    origins: tuple[tuple[AddressRange, Origin], ...] = ((pages(first, 2, 4), "program"), (pages(first, 4, 5), "engine"))
    assert found(pages(first, 0, PAGES), frames=frames, origins=origins) == [1, 4, 9]


def test_neighbours_are_one_run(first: int) -> None:
    pid = os.getpid()
    area = pages(first, 0, PAGES)
    target = GuestTarget("ONE", "process", (pid,), "shared", 0, AddressRange(0, 0), area)
    runs = private_pages(ProcessPages.read(pid), target, frames=False)
    assert [((run.address - first) // PAGE_SIZE, run.pages) for run in runs] == [(1, 2), (4, 1), (9, 1)]


def test_zeros_that_a_child_has_too_cannot_be_told_from_the_zero_page(first: int) -> None:
    """Without frame numbers; what is not zeros is private all the same."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        assert found(pages(first, 0, PAGES), frames=False) == [1, 2, 4]
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


@needs("frames")
def test_files_are_no_private_memory(first: int) -> None:
    with Path(__file__).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as text:
        assert text[0]
        space = ProcessPages.read(os.getpid())
        area = next(AddressRange(vma.start, vma.end) for vma in space.vmas if vma.path == os.fsencode(__file__))
        assert found(area, frames=True) == []
