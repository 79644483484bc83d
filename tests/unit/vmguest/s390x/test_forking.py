"""Pages that a program and its children write after each fork are copied at once; all others are shared as ever."""

from collections.abc import Iterator

import pytest
from cp_support import control_program
from guest_support import guest_kernel

from dcss.abi.page import PAGE_SHIFT
from vmguest.kernel import Kernel
from vmguest.mm_area import PROT_READ, PROT_WRITE
from vmguest.s390x.code_pages import CodePages
from vmguest.s390x.forking import _MOST_COPIED_PAGES, _SHARED_EACH
from vmguest.s390x.page_frames import PageFrames
from vmguest.s390x.page_tables import PROTECT
from vmguest.s390x.space import UserSpace

FIRST, PAGES = 1 << 8, 100
PARENT_WRITES, CHILD_WRITES, NOBODY_WRITES = FIRST, FIRST + 4, FIRST + 8


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with control_program() as cp, guest_kernel(cp) as made:
        yield made


@pytest.fixture
def frames(kernel: Kernel) -> Iterator[PageFrames]:
    made = PageFrames(kernel.machine)
    yield made
    assert (made.used_pages, made._more) == (0, {})


@pytest.fixture
def space(frames: PageFrames) -> Iterator[UserSpace]:
    made = UserSpace(frames, CodePages(frames))
    made.map(None, 0, PAGES, PROT_READ | PROT_WRITE, address=FIRST << PAGE_SHIFT)
    for page in (PARENT_WRITES, CHILD_WRITES, NOBODY_WRITES):
        store(made, page, b"old")
    yield made
    made.release()


def store(space: UserSpace, page: int, data: bytes) -> None:
    space.write(page << PAGE_SHIFT, data)


def load(space: UserSpace, page: int) -> bytes:
    return space.read(page << PAGE_SHIFT, 3)


def copied_at_once(space: UserSpace) -> set[int]:
    """Fork, write as always in both, look at what each sees, and return the pages that need no fault in the child."""
    child = space.fork()
    pages = {page for page in (PARENT_WRITES, CHILD_WRITES, NOBODY_WRITES) if not child._tables.get(page) & PROTECT}
    before = load(space, CHILD_WRITES)
    store(space, PARENT_WRITES, b"new")
    store(child, CHILD_WRITES, b"his")
    assert load(space, PARENT_WRITES) == b"new"
    assert [load(each, CHILD_WRITES) for each in (space, child)] == [before, b"his"]
    assert load(child, NOBODY_WRITES) == b"old"
    child.release()
    return pages


def test_what_was_written_after_the_last_fork_is_copied_in_the_next(space: UserSpace) -> None:
    assert copied_at_once(space) == set()
    for _ in range(_SHARED_EACH - 1):
        assert copied_at_once(space) == {PARENT_WRITES, CHILD_WRITES}
    assert copied_at_once(space) == set()
    assert copied_at_once(space) == {PARENT_WRITES, CHILD_WRITES}


def test_a_child_sees_what_its_parent_had_then(space: UserSpace) -> None:
    space.fork().release()
    store(space, PARENT_WRITES, b"two")
    child = space.fork()
    store(space, PARENT_WRITES, b"new")
    assert (load(space, PARENT_WRITES), load(child, PARENT_WRITES)) == (b"new", b"two")
    store(child, PARENT_WRITES, b"his")
    assert (load(space, PARENT_WRITES), load(child, PARENT_WRITES)) == (b"new", b"his")
    child.release()


def test_many_pages_are_shared(space: UserSpace, frames: PageFrames) -> None:
    space.fork().release()
    for page in range(FIRST, FIRST + _MOST_COPIED_PAGES + 1):
        store(space, page, b"new")
    before = frames.used_pages
    child = space.fork()
    assert frames.used_pages == before
    child.release()


def test_pages_are_shared_where_no_storage_is_free(
    space: UserSpace, frames: PageFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.fork().release()
    store(space, PARENT_WRITES, b"new")
    before = frames.used_pages
    monkeypatch.setattr(frames.machine.storage, "try_allocate_for_program", lambda _: None)
    child = space.fork()
    assert frames.used_pages == before
    store(space, PARENT_WRITES, b"two")
    assert load(child, PARENT_WRITES) == b"new"
    child.release()


def test_what_must_not_be_written_any_more_stays_so(space: UserSpace) -> None:
    assert copied_at_once(space) == set()
    space.protect(FIRST, PAGES, PROT_READ)
    child = space.fork()
    assert child._tables.get(CHILD_WRITES) & PROTECT
    child.release()
