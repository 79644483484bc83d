"""pagemap, kpagecount and address spaces, on memory of this process whose state is known."""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from needs_support import needs
from segment_support import without_privilege

from dcss.abi.page import PAGE_SIZE
from dcss.abi.pagemap import PM_FILE, PM_GUARD_REGION, PM_MMAP_EXCLUSIVE, PM_PRESENT, PM_SWAP
from dcss.account.frames import hidden_because, map_counts
from dcss.account.memory_map import cut
from dcss.account.pagemap import (
    Pagemap,
    frames_of,
    is_exclusive,
    is_file,
    is_populated,
    is_present,
    populated_of,
    runs_of,
)
from dcss.account.space import ProcessPages, spread
from dcss.account.targets import AddressRange

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE


@contextmanager
def mapped(
    pages: int,
    flags: int = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
    descriptor: int = -1,
    *,
    protection: int = READ_WRITE,
) -> Iterator[int]:
    """Map pages that nothing has touched, no huge ones; yields the first page's number."""
    address = _libc.mmap(None, pages * PAGE_SIZE, protection, flags, descriptor, 0)
    _libc.madvise(ctypes.c_void_p(address), pages * PAGE_SIZE, 15)
    try:
        yield address // PAGE_SIZE
    finally:
        _libc.munmap(address, pages * PAGE_SIZE)


def touch(page: int) -> None:
    ctypes.memset(page * PAGE_SIZE, 1, 1)


def test_places_that_hold_something_are_those_of_is_populated() -> None:
    bits = (0, PM_PRESENT, PM_SWAP, PM_SWAP | PM_GUARD_REGION, PM_FILE, PM_PRESENT | PM_FILE, PM_GUARD_REGION)
    with_guards = np.array(bits, np.uint64)
    for entries in (with_guards, with_guards[:3], with_guards[:0], with_guards[3:4]):
        assert populated_of(entries).tolist() == np.flatnonzero(is_populated(entries)).tolist()
    assert populated_of(with_guards).tolist() == [1, 2, 5]


def test_touched_pages_are_present_and_private() -> None:
    with mapped(10) as first, Pagemap(os.getpid()) as pagemap:
        touch(first + 3)
        entries = pagemap.read(first, 10)
    assert np.flatnonzero(is_present(entries)).tolist() == [3]
    assert not is_file(entries).any()
    assert is_exclusive(entries)[3]


def test_shared_memory_is_a_file() -> None:
    with mapped(4, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) as first, Pagemap(os.getpid()) as pagemap:
        touch(first)
        assert is_file(pagemap.read(first, 1)).all()


def test_bits() -> None:
    entries = np.array(
        [0, PM_PRESENT | 5, PM_SWAP, PM_SWAP | PM_GUARD_REGION, PM_PRESENT | PM_FILE | PM_MMAP_EXCLUSIVE | 7], np.uint64
    )
    assert is_populated(entries).tolist() == [False, True, True, False, True]
    assert is_present(entries).tolist() == [False, True, False, False, True]
    assert is_exclusive(entries).tolist() == [False, False, False, False, True]
    assert frames_of(entries).tolist() == [0, 5, 0, 0, 7]


@pytest.fixture
def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the kernel one from before Linux 6.7."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr("dcss.account.pagemap.fcntl.ioctl", refuse)


def check_populated(pages: int) -> None:
    with mapped(pages, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000) as first, Pagemap(os.getpid()) as pagemap:
        for page in (first, first + 1, first + 700_000, first + pages - 1):
            touch(page)
        assert pagemap.populated(first, pages) == [(first, 2), (first + 700_000, 1), (first + pages - 1, 1)]


def test_populated_pages_of_a_reserved_terabyte() -> None:
    check_populated(1 << 28)


def test_populated_pages_on_older_kernels(no_scan: None) -> None:
    check_populated(1 << 22)


def test_reservations_cost_nothing_on_older_kernels(no_scan: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read the entries of a terabyte would be to read 2 GiB."""
    read: list[int] = []
    monkeypatch.setattr(Pagemap, "read", lambda _, first_page, __: read.append(first_page))
    reserved = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
    with mapped(1 << 28, reserved, protection=0) as first, Pagemap(os.getpid()) as pagemap:
        assert pagemap.populated(first, 1 << 28) == []
    assert read == []


@needs("pagemap_scan")
def test_the_zero_page_is_left_out() -> None:
    with mapped(1 << 18, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000) as first, Pagemap(os.getpid()) as pagemap:
        for page in range(first, first + (1 << 18), 1 << 10):
            ctypes.c_ubyte.from_address(page * PAGE_SIZE).value  # noqa: B018
        assert is_present(pagemap.read(first, 1)).all()
        assert pagemap.populated(first, 1 << 18) == []
        touch(first + 1024)
        assert pagemap.populated(first, 1 << 18) == [(first + 1024, 1)]


def test_another_error_of_the_scan_is_no_older_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("dcss.account.pagemap.fcntl.ioctl", fail)
    with mapped(1) as first, Pagemap(os.getpid()) as pagemap, pytest.raises(OSError, match="Input/output error"):
        pagemap.populated(first, 1)


def test_more_populated_runs_than_one_scan_returns() -> None:
    with mapped(10_000) as first, Pagemap(os.getpid()) as pagemap:
        for page in range(first, first + 10_000, 2):
            touch(page)
        assert pagemap.populated(first, 10_000) == [(page, 1) for page in range(first, first + 10_000, 2)]


def test_runs() -> None:
    assert runs_of(np.array([], np.int64)) == []
    assert runs_of(np.array([4])) == [(4, 1)]
    assert runs_of(np.array([1, 2, 3, 7, 9, 10])) == [(1, 3), (7, 1), (9, 2)]


def test_spread() -> None:
    assert spread(np.array([5, 9, 2]), np.array([2, 0, 3])).tolist() == [5, 6, 2, 3, 4]
    assert spread(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


@needs("frames")
def test_map_counts_are_the_kernels() -> None:
    descriptor = os.memfd_create("counted")
    os.ftruncate(descriptor, 300 * PAGE_SIZE)
    with (
        mapped(300, mmap.MAP_SHARED, descriptor) as first,
        mapped(300, mmap.MAP_SHARED, descriptor) as second,
        mapped(300, mmap.MAP_SHARED, descriptor) as third,
        Pagemap(os.getpid()) as pagemap,
    ):
        for page in range(300):
            touch(first + page)
        touch(second + 10)
        touch(third + 10)
        frames = frames_of(pagemap.read(first, 300))
        shuffled = np.random.default_rng(1).permutation(np.concatenate((frames, frames)))
        counts = dict(zip(shuffled.tolist(), map_counts(shuffled).tolist(), strict=True))
    os.close(descriptor)
    assert counts[int(frames[10])] == 3
    # The kernel maps up to 16 pages around a fault.
    assert {counts[int(frame)] for frame in frames[40:]} == {1}


@needs("frames")
def test_map_counts_of_nothing_and_of_frames_beyond_memory() -> None:
    assert map_counts(np.zeros(0, np.uint64)).tolist() == []
    assert map_counts(np.array([1 << 50, 1 << 50], np.uint64)).tolist() == [0, 0]


@needs("frames")
def test_frames_are_visible_to_root_only() -> None:
    assert hidden_because() is None
    assert "CAP_SYS_ADMIN" in (without_privilege(hidden_because) or "")


def test_address_space_of_an_object() -> None:
    descriptor = os.memfd_create("object")
    os.ftruncate(descriptor, 64 * PAGE_SIZE)
    status = os.fstat(descriptor)
    wanted = status.st_dev, status.st_ino
    with (
        mapped(64, mmap.MAP_SHARED, descriptor) as shared,
        mapped(64, mmap.MAP_PRIVATE, descriptor) as private,
        mapped(5000) as anonymous,
    ):
        os.close(descriptor)
        for page in (shared + 2, shared + 40, private + 7, anonymous + 4999):
            touch(page)
        space = ProcessPages.read(os.getpid())
        found = space.of_object(wanted, AddressRange(shared * PAGE_SIZE, (shared + 64) * PAGE_SIZE))
        whole = space.of_object(wanted)
        rest = space.without(frozenset({wanted}))
        part = ProcessPages.read(os.getpid(), frozenset({wanted}))
        assert {2, 40} <= set(found.object_pages.tolist())
        assert (found.pages - shared == found.object_pages).all()
        assert is_file(found.entries).all()
        assert 7 in whole.object_pages.tolist()
        assert private + 7 in rest.pages  # written, so a page of this process
        assert shared + 2 not in rest.pages
        assert anonymous + 4999 in space.pages
        assert (np.diff(space.pages) > 0).all()
        assert part.of_object(wanted).pages.tolist() == whole.pages.tolist()
        assert {vma.object for vma in part.vmas} == {wanted}
        (vma,) = [vma for vma in space.vmas if vma.start == shared * PAGE_SIZE]
        middle = cut(vma, AddressRange((shared + 8) * PAGE_SIZE, (shared + 16) * PAGE_SIZE))
        assert (middle.pages, middle.offset_bytes) == (8, 8 * PAGE_SIZE)
        assert cut(vma, AddressRange(0, 1 << 62)) is vma


@needs("pagemap_scan")
def test_of_a_big_mapping_the_zero_pages_beside_populated_ones_are_read_too() -> None:
    """What a search looks for may begin or end in a page of zeros that was read only."""
    pages = 1 << 14
    with mapped(pages, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000) as first:
        for page in (0, 1, 500, 502, 504, 700, pages - 1):
            touch(first + page)
        for page in (2, 3, 499, 501, 503, 505, 506, 698, pages - 2, pages - 3):
            ctypes.c_ubyte.from_address((first + page) * PAGE_SIZE).value  # noqa: B018
        found = ProcessPages.read(os.getpid()).pages
        inside = found[(found >= first) & (found < first + pages)] - first
    assert inside.tolist() == [0, 1, 2, 499, 500, 501, 502, 503, 504, 505, 700, pages - 2, pages - 1]
    assert (np.diff(found) > 0).all()


def test_pages_of_mappings_that_are_left_out_are_not_read_with_their_neighbours() -> None:
    """Mappings that lie close are read in one call, with what is between them: only where all are looked at."""
    descriptor = os.memfd_create("left out")
    os.ftruncate(descriptor, 8 * PAGE_SIZE)
    status = os.fstat(descriptor)
    objects = frozenset({(status.st_dev, status.st_ino)})
    with mapped(24) as first:
        at, fixed = (first + 8) * PAGE_SIZE, 0x10
        assert _libc.mmap(at, 8 * PAGE_SIZE, READ_WRITE, mmap.MAP_SHARED | fixed, descriptor, 0) == at
        middle = (first + 16) * PAGE_SIZE
        assert _libc.mmap(middle, 4 * PAGE_SIZE, READ_WRITE, mmap.MAP_PRIVATE | fixed, descriptor, 0) == middle
        os.close(descriptor)
        for page in (7, 8, 15, 16, 21):
            touch(first + page)
        ctypes.c_ubyte.from_address((first + 17) * PAGE_SIZE).value  # noqa: B018

        def inside(space: ProcessPages) -> list[int]:
            return [page - first for page in space.pages.tolist() if first <= page < first + 24]

        pid = os.getpid()
        everything = inside(ProcessPages.read(pid))
        assert {7, 8, 15, 16, 17, 21} <= set(everything)
        # The kernel maps some pages around those that are asked for.
        assert inside(ProcessPages.read_without(pid, objects)) == [7, 16, 21]
        assert inside(ProcessPages.read(pid).without(objects)) == [7, 16, 21]
        only = inside(ProcessPages.read(pid, objects))
        assert only == [page for page in everything if 8 <= page < 20]
        assert ProcessPages.read(pid).map.complete
        assert not ProcessPages.read_without(pid, objects).map.complete
