"""The search for copies: any offset, any border, and pages that are awkward to tell apart."""

import numpy as np
import pytest
from segment_support import File, random_content, unmapped

import dcss.verify.search.anchors
from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Pages
from dcss.verify.search.anchors import ALIGNMENTS, Anchors
from dcss.verify.search.page_contents import LOW_ENTROPY, Contents
from dcss.verify.search.searcher import Searcher
from dcss.verify.segment_content import Bytes, SegmentContent
from dcss.verify.segment_view import NO_FILE, SegmentFiles


class Memory:
    """Foreign memory by page number; pages in `holes` cannot be read."""

    def __init__(self, data: bytes, first_page: int = 100, holes: tuple[int, ...] = ()) -> None:
        self.data = np.frombuffer(data + bytes(-len(data) % PAGE_SIZE), np.uint8)
        self.first_page = first_page
        self.holes = holes
        self.calls: list[tuple[int, int]] = []

    @property
    def pages(self) -> Pages:
        return np.arange(len(self.data) // PAGE_SIZE) + self.first_page

    def read(self, page: int, buffer: Bytes) -> int:
        wanted = len(buffer) // PAGE_SIZE
        readable = next((n for n in range(wanted) if page + n in self.holes), wanted)
        start = (page - self.first_page) * PAGE_SIZE
        buffer[: readable * PAGE_SIZE] = self.data[start : start + readable * PAGE_SIZE]
        self.calls.append((page, wanted))
        return readable * PAGE_SIZE


def search(searcher: Searcher, memory: Memory, pages: Pages | None = None) -> list[tuple[int, int]]:
    """Return (offset in memory, segment page) of what is found."""
    hits = searcher.search(memory.read, memory.pages if pages is None else pages).hits
    offsets = hits.addresses - memory.first_page * PAGE_SIZE
    return sorted(zip(offsets.tolist(), searcher.contents.page[hits.contents].tolist(), strict=True))


@pytest.mark.parametrize("offset", [*range(9), 15, 16, 4095, 4096, 5003])
def test_every_byte_offset(offset: int) -> None:
    segment = random_content(5)
    searcher = Searcher(Contents.of([unmapped(segment)]))
    memory = Memory(bytes(offset) + segment + b"tail")
    assert search(searcher, memory) == [(offset + page * PAGE_SIZE, page) for page in range(5)]


def test_what_is_nearly_a_copy_is_none() -> None:
    segment = random_content(3)
    for place in (0, 1, 2000, PAGE_SIZE - 1):
        changed = bytearray(segment)
        changed[PAGE_SIZE + place] ^= 1
        assert search(Searcher(Contents.of([unmapped(segment)])), Memory(bytes(changed))) == [(0, 0), (8192, 2)]


def test_copy_cut_short_at_either_end_of_memory() -> None:
    segment = random_content(1)
    searcher = Searcher(Contents.of([unmapped(segment)]))
    assert search(searcher, Memory(segment[1:] + bytes(1))) == []
    assert search(searcher, Memory(bytes(1) + segment[:-1])) == []
    assert search(searcher, Memory(b"")) == []
    assert search(searcher, Memory(segment)) == [(0, 0)]


def test_no_match_across_pages_that_are_no_neighbours() -> None:
    segment = random_content(1)
    searcher = Searcher(Contents.of([unmapped(segment)]))
    memory = Memory(bytes(1000) + segment)
    assert search(searcher, memory) == [(1000, 0)]
    torn = Memory(memory.data[:PAGE_SIZE].tobytes() + bytes(PAGE_SIZE) + memory.data[PAGE_SIZE:].tobytes())
    assert search(searcher, torn, np.array([100, 102])) == []


def test_pages_are_read_by_runs() -> None:
    searcher = Searcher(Contents.of([unmapped(random_content(1))]))
    memory = Memory(bytes(20 * PAGE_SIZE))
    search(searcher, memory, np.array([100, 101, 102, 110, 112, 113]))
    assert memory.calls == [(100, 3), (110, 1), (112, 2)]


@pytest.mark.parametrize("offset", [0, 1, 4095])
def test_copies_over_the_seams_of_the_buffer(offset: int) -> None:
    # The buffer holds 2048 pages; the next one begins with the last of these.
    segment = random_content(4)
    searcher = Searcher(Contents.of([unmapped(segment)]))
    for start in (2044, 2045, 2046, 2047, 2048, 4093, 4094, 4095):
        memory = Memory(bytes(start * PAGE_SIZE + offset) + segment + bytes(9))
        expected = [((start + page) * PAGE_SIZE + offset, page) for page in range(4)]
        assert search(searcher, memory) == expected


@pytest.mark.parametrize("pages", range(1, 12))
def test_every_page_is_searched_and_every_border_between_two(pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the buffer holds of them at once: here four."""
    monkeypatch.setattr("dcss.verify.search.searcher._BUFFER_PAGES", 4)
    segment = random_content(1)
    searcher = Searcher(Contents.of([unmapped(segment)]))
    for offset in range(0, (pages - 1) * PAGE_SIZE + 1, PAGE_SIZE // 2):
        memory = Memory((bytes(offset) + segment).ljust(pages * PAGE_SIZE, b"\0"))
        assert search(searcher, memory) == [(offset, 0)]
    assert search(searcher, Memory(b""), np.zeros(0, np.int64)) == []


def test_unreadable_pages_are_told_and_the_rest_is_searched() -> None:
    segment = random_content(6)
    searcher = Searcher(Contents.of([unmapped(segment)]))
    memory = Memory(bytes(100) + segment, holes=(102, 103))
    found = searcher.search(memory.read, memory.pages)
    assert found.unreadable.tolist() == [102, 103]
    assert [page for _, page in search(searcher, memory)] == [0, 4, 5]


def test_dull_pages_are_not_searched() -> None:
    few = bytearray(PAGE_SIZE)
    few[100:115] = bytes(range(1, 16))
    enough = bytearray(PAGE_SIZE)
    enough[100:116] = bytes(range(1, 17))
    pages = [bytes(PAGE_SIZE), b"\xff" * PAGE_SIZE, bytes(few), bytes(enough)]
    contents = Contents.of([unmapped(b"".join(pages))])
    assert [int(content != LOW_ENTROPY) for content in contents.of_page[0]] == [0, 0, 0, 1]
    assert search(Searcher(contents), Memory(bytes(77) + b"".join(pages))) == [(77 + 3 * PAGE_SIZE, 3)]


def test_dull_is_judged_wherever_the_odd_bytes_are() -> None:
    for places in (np.linspace(0, 4095, 33).astype(int)[:15], np.arange(15), np.arange(4081, 4096)):
        page = np.full(PAGE_SIZE, 7, np.uint8)
        page[places] = 9
        assert Contents.of([unmapped(page.tobytes())]).of_page[0].tolist() == [LOW_ENTROPY]


AWKWARD = {
    "half and half": b"\0" * 2048 + b"\xff" * 2048,
    "sixteen at the beginning": bytes(range(1, 17)).ljust(PAGE_SIZE, b"\0"),
    "sixteen at the end": bytes(range(1, 17)).rjust(PAGE_SIZE, b"\0"),
    "eight at either end": b"12345678" + bytes(PAGE_SIZE - 16) + b"12345678",
    "one word over and over": b"abcdefgh" * 512,
    "two words in turn": b"abcdefghijklmnop" * 256,
    "two bytes in turn": b"ab" * 2048,
    "a number in each word": b"".join(number.to_bytes(8, "big") for number in range(512)),
    "sixteen ones": (bytes(255) + b"\1") * 16,
    "bitmap": b"\xff" * 1000 + b"\x07" + bytes(3095),
}


@pytest.mark.parametrize("page", AWKWARD.values(), ids=AWKWARD.keys())
@pytest.mark.parametrize("offset", range(8))
def test_awkward_pages_are_found_at_every_alignment(page: bytes, offset: int) -> None:
    searcher = Searcher(Contents.of([unmapped(random_content(2) + page)]))
    # Round about it lies what is nowhere in the segment.
    memory = Memory(b"\x55" * (offset + 8192) + page + b"\x55" * 4096)
    assert search(searcher, memory) == [(offset + 8192, 2)]


def test_equal_pages_are_one_content_named_by_a_file() -> None:
    page, other = random_content(2)[:PAGE_SIZE], random_content(2)[PAGE_SIZE:]
    files = (File(b"/a", ((0, 2, 1),)), File(b"/b", ((0, 3, 1), (2, 1, 1))))
    contents = Contents.of([unmapped(page + other + page + page, files)])
    assert len(contents) == 2
    assert contents.of_page[0][0] == contents.of_page[0][2] == contents.of_page[0][3]
    assert contents.page[contents.of_page[0][0]] == 2  # page 0 is no file's
    assert sorted(contents.file_counts().tolist()) == [1, 2]
    assert search(Searcher(contents), Memory(page)) == [(0, 2)]


def test_pages_that_differ_in_few_bits_are_told_apart() -> None:
    # Every word alike, and the words of two pages differ in their highest bits only.
    pages = b"".join((number << 56).to_bytes(8, "little") * 512 for number in range(1, 256))
    for _ in range(20):
        assert len(Contents.of([unmapped(pages)])) == 255


def test_pages_that_differ_in_one_bit_are_told_apart() -> None:
    base = random_content(1)
    pages = [base]
    for bit in range(64):
        page = bytearray(base)
        page[8 * bit + bit // 8] ^= 1 << bit % 8
        pages.append(bytes(page))
    assert len(Contents.of([unmapped(b"".join(pages))])) == 65


def test_segments_are_told_apart() -> None:
    first, second = random_content(3, seed=1), random_content(3, seed=2)
    contents = Contents.of([unmapped(first), unmapped(second, name="OTHER")])
    searcher = Searcher(contents)
    memory = Memory(second[PAGE_SIZE:] + first[:PAGE_SIZE])
    hits = searcher.search(memory.read, memory.pages).hits
    assert contents.segment[hits.contents].tolist() == [1, 1, 0]
    assert contents.page[hits.contents].tolist() == [1, 2, 0]


def test_nothing_to_search_for() -> None:
    assert search(Searcher(Contents.of([])), Memory(random_content(2))) == []
    assert search(Searcher(Contents.of([unmapped(bytes(PAGE_SIZE))])), Memory(random_content(2))) == []


def test_each_content_has_an_anchor_for_each_alignment() -> None:
    pages = random_content(600) + b"".join(AWKWARD.values())
    contents = Contents.of([unmapped(pages)])
    anchors = Anchors.of(contents)
    assert (anchors.offsets % ALIGNMENTS == np.arange(ALIGNMENTS)).all()
    assert anchors.offsets.min() >= 0
    assert anchors.offsets.max() <= PAGE_SIZE - 16
    assert len(anchors.keys) == len(contents) * ALIGNMENTS
    assert (np.diff(anchors.keys.astype(object)) >= 0).all()


def test_filters_before_the_anchors_tell_them_apart() -> None:
    anchors = Anchors.of(Contents.of([unmapped(random_content(600))]))
    for filled in (anchors.coarse, anchors.fine):
        assert 0.8 * len(anchors.keys) < filled.sum() < 0.2 * len(filled)


@pytest.mark.parametrize("first", [0, 1])
def test_pieces_that_are_half_zero_are_not_chosen(first: int) -> None:
    # Memory is full of zeros: of pairs of words that a page has once, those without a zero are looked up.
    words = np.frombuffer(random_content(20), np.uint64).reshape(20, -1).copy()
    words[:, first::3] = 0
    anchors = Anchors.of(Contents.of([unmapped(words.tobytes())]))
    chosen = anchors.offsets[:, 0] // ALIGNMENTS
    assert (chosen % 3 == (first + 1) % 3).all()


def test_rare_pieces_are_chosen() -> None:
    # Pages that are alike but for one word: only pieces with that word tell them apart.
    common = random_content(1)
    pages = []
    for number in range(300):
        page = bytearray(common)
        page[2056:2064] = (number * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "little")
        pages.append(bytes(page))
    anchors = Anchors.of(Contents.of([unmapped(b"".join(pages))]))
    assert len(np.unique(anchors.keys)) > 0.9 * len(anchors.keys)
    assert ((anchors.offsets > 2056 - 16) & (anchors.offsets < 2064)).mean() > 0.9


@pytest.mark.parametrize("matches_at_once", [1, 5, 1 << 15])
def test_pages_that_have_their_anchors_in_common_are_looked_at_together(
    monkeypatch: pytest.MonkeyPatch, matches_at_once: int
) -> None:
    # Alike but for the last byte, which is in no piece of seven alignments.
    common = random_content(1)[:-1]
    pages = [common + bytes([number]) for number in range(12)]
    searcher = Searcher(Contents.of([unmapped(b"".join(pages))]))
    monkeypatch.setattr(dcss.verify.search.anchors, "_MATCHES_AT_ONCE", matches_at_once)
    shifted = bytes(3) + b"".join(pages) + bytes(5)
    assert search(searcher, Memory(shifted)) == [(3 + page * PAGE_SIZE, page) for page in range(12)]
    words = np.frombuffer(shifted + bytes(-len(shifted) % 8), np.uint64)
    parts = list(Anchors.of(searcher.contents).look_up(words))
    assert sum(len(places) for places, _ in parts) >= 12 * 12
    assert max(len(places) for places, _ in parts) < matches_at_once + 12
    assert matches_at_once < 144 or len(parts) == 1


def test_contents_are_numbered_as_their_pages_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    segment = unmapped(random_content(40), [File(b"/a", ((0, 30, 5),))])
    contents = Contents.of([segment])
    assert contents.page.tolist() == [*range(30, 35), *range(30), *range(35, 40)]
    calls: list[int] = []
    read_into = SegmentContent.read_into

    def counted(content: SegmentContent, rows: Bytes, first_page: int) -> None:
        calls.append(first_page)
        read_into(content, rows, first_page)

    monkeypatch.setattr(SegmentContent, "read_into", counted)
    Anchors.of(contents)
    assert set(calls) == {0, 30, 35}


def test_files_in_pages() -> None:
    files = (File(b"/a", ((0, 4, 2), (5, 1, 1))), File(b"/empty", ()), File(b"/\xff", ((0, 7, 1),)))
    pages = SegmentFiles.of(files, 9)
    assert pages.paths == ("/a", "/\udcff")
    assert pages.pages.tolist() == [4, 5, 1, 7]
    assert pages.owner.tolist() == [NO_FILE, 0, NO_FILE, NO_FILE, 0, 0, NO_FILE, 1, NO_FILE]
    wanted = np.zeros(9, np.bool_)
    wanted[[1, 4, 8]] = True
    assert pages.count(wanted).tolist() == [2, 0]
    assert SegmentFiles.of((), 9).count(wanted).tolist() == []


@pytest.mark.parametrize("run", [(0, -1, 2), (0, 8, 2), (0, 3, 0)])
def test_runs_outside_the_segment_are_refused(run: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"file /a: found pages .* wanted pages of a segment of 9"):
        SegmentFiles.of((File(b"/a", (run,)),), 9)


def test_content_that_was_lost_since_it_was_looked_at_has_no_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = Contents.of([unmapped(random_content(4))])
    assert len(Anchors.of(contents).keys) == 4 * ALIGNMENTS
    # As where the object was cut short in between: all memory would look like these pages.
    monkeypatch.setattr(Contents, "rows", lambda _, wanted: np.zeros((len(wanted), PAGE_SIZE), np.uint8))
    assert len(Anchors.of(contents).keys) == 0
    assert search(Searcher(contents), Memory(bytes(64 * PAGE_SIZE))) == []
