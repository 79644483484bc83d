"""Pages that seem to lie in frames of others are looked at again: the kernel moves pages from frame to frame."""

import mmap
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from needs_support import needs

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Entries, Pages, frames_of
from dcss.account.space import ProcessPages
from dcss.verify.search import system_search
from dcss.verify.search.process_memory import Searchable
from dcss.verify.search.system_search import shared_now

pytestmark = needs("frames")
PAGES = 4


@pytest.fixture
def memory() -> Iterator[tuple[Searchable, Pages]]:
    """Four pages of this process: two of its own, and two that a child has, too."""
    own = mmap.mmap(-1, 2 * PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    shared = mmap.mmap(-1, 2 * PAGE_SIZE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    shared[:] = b"s" * len(shared)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        sum(shared[:])  # the child's page tables have them
        os.write(writing, b"!")
        signal.pause()
        os._exit(0)
    assert os.read(reading, 1) == b"!"
    own[:] = b"o" * len(own)  # after the fork: in frames of their own
    try:
        space = ProcessPages.read(os.getpid())
        searchable = Searchable(space, space.pages, space.entries, frames_of(space.entries))
        addresses = np.array(
            [
                np.frombuffer(each, np.uint8).ctypes.data + page * PAGE_SIZE
                for each in (own, shared)
                for page in range(2)
            ],
            np.int64,
        )
        yield searchable, addresses
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_what_is_shared_is_so_at_the_second_look(memory: tuple[Searchable, Pages]) -> None:
    process, addresses = memory
    assert shared_now([process], process, addresses).tolist() == [False, False, True, True]
    assert shared_now([process], process, addresses[:1] + 100).tolist() == [False]


def test_a_page_that_moves_all_the_time_is_not_shared(
    memory: tuple[Searchable, Pages], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, addresses = memory
    looks = 0

    def moving(_process: Searchable, pages: Pages) -> Entries:
        nonlocal looks
        looks += 1
        return np.full(len(pages), looks, np.uint64)

    monkeypatch.setattr(system_search, "_frames_now", moving)
    monkeypatch.setattr(system_search, "map_counts", lambda frames: np.full(len(frames), 9, np.uint64))
    assert not shared_now([process], process, addresses).any()
    assert looks < 100
