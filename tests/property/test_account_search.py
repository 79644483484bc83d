"""Whatever is copied, wherever to: found; and what is found is there."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from segment_support import unmapped

from dcss.abi.page import PAGE_SIZE
from dcss.verify.search.page_contents import LOW_ENTROPY, Contents
from dcss.verify.search.searcher import Searcher
from dcss.verify.segment_content import Bytes

# Pages between noise and emptiness, many of them alike.
page = st.one_of(
    st.integers(0, 5).map(lambda seed: np.random.default_rng(seed).bytes(PAGE_SIZE)),
    st.binary(min_size=1, max_size=24).map(lambda word: (word * PAGE_SIZE)[:PAGE_SIZE]),
    st.tuples(st.binary(max_size=40), st.integers(0, PAGE_SIZE - 40), st.sampled_from([b"\0", b"\xff"])).map(
        lambda made: (made[2] * made[1] + made[0]).ljust(PAGE_SIZE, made[2])[:PAGE_SIZE]
    ),
)
segments = st.lists(page, min_size=1, max_size=6)
copies = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 9000), st.sampled_from([b"\0", b"\xff", b"x"])), max_size=4
)


@given(segments, copies)
def test_search_agrees_with_a_search_by_hand(pages: list[bytes], pieces: list[tuple[int, int, bytes]]) -> None:
    segment = unmapped(b"".join(pages))
    contents = Contents.of([segment])
    memory = b"".join(filler * gap + pages[index % len(pages)] for index, gap, filler in pieces) or b"x"
    memory += bytes(-len(memory) % PAGE_SIZE)

    def read(first_page: int, buffer: Bytes) -> int:
        buffer[:] = np.frombuffer(memory, np.uint8)[first_page * PAGE_SIZE :][: len(buffer)]
        return len(buffer)

    hits = Searcher(contents).search(read, np.arange(len(memory) // PAGE_SIZE)).hits
    found = set(zip(hits.addresses.tolist(), hits.contents.tolist(), strict=True))
    distinctive = {
        pages[i]: int(contents.of_page[0][i]) for i in range(len(pages)) if contents.of_page[0][i] != LOW_ENTROPY
    }
    by_hand = set()
    for wanted, number in distinctive.items():
        at = memory.find(wanted)
        while at >= 0:
            by_hand.add((at, number))
            at = memory.find(wanted, at + 1)
    assert found == by_hand
    for index, wanted in enumerate(pages):
        page = np.frombuffer(wanted, np.uint8)
        rare = min(np.count_nonzero(page != byte) for byte in np.unique(page))
        assert (int(contents.of_page[0][index]) == LOW_ENTROPY) == (rare < 16), wanted
