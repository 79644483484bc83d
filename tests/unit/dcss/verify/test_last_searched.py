"""Memory is compared with what was searched last: the same copies are found as by a search of all of it."""

import numpy as np
import pytest
from segment_support import random_content, unmapped

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Entries, Pages
from dcss.account.proc import ProcessGoneError
from dcss.verify.search import last_searched
from dcss.verify.search.last_searched import LastSearched
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.searcher import Found, Searcher
from dcss.verify.segment_content import Bytes

SEGMENT = random_content(4)
FIRST_PAGE = 100


class Process:
    """Memory by page number, some of it in frames that stand still; notes what is read."""

    def __init__(
        self, memory: dict[int, bytes], frames: dict[int, int] | None = None, holes: frozenset[int] = frozenset()
    ) -> None:
        self.memory, self.frames_by_page, self.holes = memory, frames or {}, holes
        self.read_pages: list[int] = []
        self.calls = 0

    @property
    def pages(self) -> Pages:
        return np.array(sorted(self.memory), np.int64)

    @property
    def frames(self) -> Entries:
        return np.array([self.frames_by_page.get(page, 0) for page in sorted(self.memory)], np.uint64)

    def read(self, first_page: int, buffer: Bytes) -> int:
        self.calls += 1
        for index in range(len(buffer) // PAGE_SIZE):
            if first_page + index in self.holes:
                return index * PAGE_SIZE
            content = self.memory[first_page + index]
            buffer[index * PAGE_SIZE : (index + 1) * PAGE_SIZE] = np.frombuffer(content, np.uint8)
            self.read_pages.append(first_page + index)
        return len(buffer)


def pages_of(data: bytes, first_page: int = FIRST_PAGE) -> dict[int, bytes]:
    data += bytes(-len(data) % PAGE_SIZE)
    return {first_page + i: data[i * PAGE_SIZE : (i + 1) * PAGE_SIZE] for i in range(len(data) // PAGE_SIZE)}


@pytest.fixture
def searcher() -> Searcher:
    return Searcher(Contents.of([unmapped(SEGMENT)]))


def search(last: LastSearched, process: Process) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the hits (address, content) and the pages that cannot be read."""
    return described(last.search(process.read, process.pages, process.frames))


def described(found: Found) -> tuple[list[tuple[int, int]], list[int]]:
    hits = zip(found.hits.addresses.tolist(), found.hits.contents.tolist(), strict=True)
    return list(hits), found.unreadable.tolist()


def write(memory: dict[int, bytes], address: int, data: bytes) -> None:
    """Write from a byte address on; pages that are not there begin as zeros."""
    first, offset = divmod(address, PAGE_SIZE)
    count = -(-(offset + len(data)) // PAGE_SIZE)
    old = bytearray(b"".join(memory.get(first + index, bytes(PAGE_SIZE)) for index in range(count)))
    old[offset : offset + len(data)] = data
    memory.update(pages_of(bytes(old), first))


@pytest.mark.parametrize("seed", range(30))
def test_the_same_is_found_as_by_a_search_of_everything(
    seed: int, searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_searched, "_KEPT_PAGES", 20)
    monkeypatch.setattr(last_searched, "_BATCH_PAGES", 3)
    random = np.random.default_rng(seed)
    last = LastSearched(searcher)
    memory = pages_of(bytes(30 * PAGE_SIZE))
    holes: set[int] = set()
    with_copies = 0
    for _ in range(20):
        # Each process keeps most of what the one before it had.
        if random.random() < 0.7:
            piece = SEGMENT[int(random.integers(0, 3)) * PAGE_SIZE :][: int(random.integers(1, 3 * PAGE_SIZE))]
            write(memory, FIRST_PAGE * PAGE_SIZE + int(random.integers(0, 28 * PAGE_SIZE)), piece)
        for page in random.integers(FIRST_PAGE, FIRST_PAGE + 30, 2).tolist():
            memory.pop(page, None)
        holes ^= set(random.integers(FIRST_PAGE, FIRST_PAGE + 30, 1).tolist())
        # Frames that stand still are the same where the content is, and can be read.
        standing = [page for page in memory if page not in holes and random.random() < 0.5]
        still = {page: 1 + hash(memory[page]) % (1 << 40) for page in standing}
        process = Process(dict(memory), still if seed % 2 else {}, frozenset(holes))
        everything = described(searcher.search(process.read, process.pages))
        assert search(last, process) == everything
        with_copies += bool(everything[0])
    assert with_copies > 3


def test_frames_that_stand_still_are_read_once(searcher: Searcher) -> None:
    memory = pages_of(bytes(1000) + SEGMENT + bytes(20 * PAGE_SIZE))
    frames = {page: page + 1000 for page in memory}
    last = LastSearched(searcher)
    first = search(last, Process(memory, frames))
    again = Process(memory, {**frames, FIRST_PAGE + 12: 7})
    assert search(last, again) == first
    assert again.read_pages == [FIRST_PAGE + 12]


def test_frames_that_are_forgotten_are_read_again(searcher: Searcher) -> None:
    memory = pages_of(SEGMENT)
    frames = {page: page + 1000 for page in memory}
    last = LastSearched(searcher)
    search(last, Process(memory, frames))
    last.frames = np.zeros_like(last.frames)
    emptied = Process({page: bytes(PAGE_SIZE) for page in memory}, frames)
    assert search(last, emptied) == ([], [])
    assert emptied.read_pages == list(memory)


def test_single_pages_between_those_to_be_read_cost_no_calls(searcher: Searcher) -> None:
    memory = pages_of(bytes(30 * PAGE_SIZE))
    frames = {page: page + 1000 for page in memory}
    last = LastSearched(searcher)
    search(last, Process(memory, frames))
    own = {FIRST_PAGE + place: 0 for place in (2, 4, 7, 20)}
    process = Process(memory, {**frames, **own})
    search(last, process)
    assert process.calls == 2
    assert process.read_pages == [FIRST_PAGE + place for place in (2, 3, 4, 5, 6, 7, 20)]


def test_what_nearly_is_a_page_many_times_has_that_page_read_once(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = searcher.contents
    offsets = np.unique(searcher._anchors.offsets[0])
    spared = next(byte for byte in range(PAGE_SIZE) if not ((offsets <= byte) & (byte < offsets + 16)).any())
    nearly = bytearray(contents.rows(np.array([0]))[0].tobytes())
    nearly[spared] ^= 1
    whole = contents.rows(np.array([1]))[0].tobytes()
    asked: list[list[int]] = []
    rows = Contents.rows

    def noted(self: Contents, some: Pages) -> Bytes:
        asked.append(some.tolist())
        return rows(self, some)

    monkeypatch.setattr(Contents, "rows", noted)
    process = Process(pages_of(bytes(nearly) * 40 + whole * 3))
    hits, _ = search(LastSearched(searcher), process)
    assert hits == [((FIRST_PAGE + 40 + place) * PAGE_SIZE, 1) for place in range(3)]
    assert asked == [[0, 1]]


def test_pages_apart_are_no_gap(searcher: Searcher) -> None:
    # What is between these is no memory of the process.
    memory = {FIRST_PAGE: bytes(PAGE_SIZE), FIRST_PAGE + 2: bytes(PAGE_SIZE)}
    process = Process(memory)
    search(LastSearched(searcher), process)
    assert process.read_pages == [FIRST_PAGE, FIRST_PAGE + 2]


def test_nothing_is_taken_for_known_after_a_search_that_failed(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_searched, "_BATCH_PAGES", 1)
    zeros = pages_of(bytes(2 * PAGE_SIZE))
    copies = Process(pages_of(SEGMENT[: 2 * PAGE_SIZE]))
    last = LastSearched(searcher)
    search(last, Process(zeros))

    def fail(first_page: int, buffer: Bytes) -> int:
        if first_page > FIRST_PAGE:
            raise ProcessGoneError(1, "mem")
        return copies.read(first_page, buffer)

    with pytest.raises(ProcessGoneError):
        last.search(fail, copies.pages, copies.frames)
    assert len(search(last, copies)[0]) == 2
