"""Much memory that holds nothing: reservations, holes of files, and the zero page, cost a proof next to nothing."""

import re

import pytest
from claim_support import NO_COPIES, assert_only_false, assert_verified, detail
from needs_support import needs
from segment_support import PAGES, Stage, map_all, order, random_content

from dcss.abi.page import PAGE_SIZE
from dcss.verify.examine import verify

pytestmark = needs("frames", "pagemap_scan")

GIB = 1 << 30
SOME_PAGES = 20_000  # more than two of these guests have, and far less than what they map


def searched_pages(text: str) -> int:
    (found,) = re.findall(r"([0-9,]+) private pages", text)
    return int(found.replace(",", ""))


@pytest.mark.parametrize("kind", ["reserved", "anonymous", "memfd", "memfd-private", "shm", "disk", "disk-private"])
def test_two_guests_map_64_gib_that_are_empty(kind: str) -> None:
    with Stage() as stage:
        stage.publish()
        for _ in range(2):
            stage.guest([*map_all(), order("sparse", size_bytes=64 * GIB, kind=kind)])
        result = verify(stage.system)
    assert_verified(result)
    assert searched_pages(detail(result, NO_COPIES)) < SOME_PAGES


def test_two_guests_read_a_gib_that_was_never_written() -> None:
    with Stage() as stage:
        stage.publish()
        for _ in range(2):
            stage.guest([*map_all(), order("sparse", size_bytes=16 * GIB, kind="anonymous", touched_bytes=GIB)])
        result = verify(stage.system)
    assert_verified(result)
    assert searched_pages(detail(result, NO_COPIES)) < SOME_PAGES


def test_a_guest_reads_gib_in_many_mappings() -> None:
    """Each is small enough to be read whole; all of them are not."""
    size_bytes = 8 << 20
    with Stage() as stage:
        stage.publish()
        # In turn, as neighbours of one kind would become one mapping.
        kinds = ["anonymous", "anonymous-read"] * 160
        orders = [order("sparse", size_bytes=size_bytes, kind=kind, touched_bytes=size_bytes) for kind in kinds]
        stage.guest([*map_all(), *orders])
        result = verify(stage.system)
    assert_verified(result)
    assert searched_pages(detail(result, NO_COPIES)) < SOME_PAGES


def test_a_copy_that_ends_in_the_zero_page_is_found() -> None:
    content = bytearray(random_content())
    content[20 * PAGE_SIZE + 1000 : 21 * PAGE_SIZE] = bytes(PAGE_SIZE - 1000)
    with Stage() as stage:
        stage.publish(bytes(content))
        stage.guest([*map_all(), order("hide", how="before_zeros", page=20, pages=1)])
        reason = assert_only_false(verify(stage.system), NO_COPIES)
    assert "1 page of LIB:/lib/one.so" in reason
    assert PAGES > 20
