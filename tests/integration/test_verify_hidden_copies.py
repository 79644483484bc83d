"""Claim 2: a guest hides a copied library in every way it knows; each is found, named, and refutes that claim alone."""

import pytest
from claim_support import NO_COPIES, ONE_FRAME, assert_only_false, assert_verified, detail
from needs_support import needs
from segment_support import FILES, PAGES, File, Stage, map_all, map_file, order, random_content

from dcss.abi.page import PAGE_SIZE
from dcss.account.targets import AddressRange
from dcss.verify.examine import verify

pytestmark = needs("frames")

PLACES = {
    "bytes": "in private memory",
    "bytearray": "in private memory",
    "pieces": "in private memory",
    "odd": "in private memory",
    "private": "in private memory",
    "anonymous_shared": "in shared memory /dev/zero (deleted)",
    "dropped": "in shared memory /dev/zero (deleted)",
    "prot_none": "without access (PROT_NONE)",
    "straddling": "in private memory",
    "file_private": "in a written private mapping of /",
    "memfd": "in shared memory /memfd:hidden (deleted)",
    "memfd_unmapped": "held open as descriptor",
    "tmpfs": "/dev/shm/dcss-test-hidden-",
    "aio_ring": "in shared memory /[aio] (deleted)",
    "packet_ring": "in shared memory socket:[",
    "child": "in private memory",
    "moving": "in private memory",
}
NEEDED = {"aio_ring": "aio", "packet_ring": "packets"}
CASES = [pytest.param(how, where, marks=[needs(NEEDED[how])] if how in NEEDED else []) for how, where in PLACES.items()]


@pytest.mark.parametrize(("how", "where"), CASES)
def test_hidden_copy_is_found(how: str, where: str) -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        stage.guest([*map_all(), order("hide", how=how, page=8, pages=40)])
        stage.guest(map_all())
        reason = assert_only_false(verify(stage.system), NO_COPIES)
    assert reason.startswith("guest LINUX02 (kernel): 40 pages of LIB:/lib/one.so")
    assert where in reason
    assert "LINUX01" not in reason
    assert "LINUX03" not in reason


def test_pieces_of_a_large_file() -> None:
    with Stage() as stage:
        content = random_content(512)
        stage.publish(content, (File(b"/lib/big.so", ((0, 0, 512),)),))
        stage.guest([order("map", at=0, page=0, pages=512), order("hide", how="pieces", page=0, pages=512)])
        reason = assert_only_false(verify(stage.system), NO_COPIES)
    # A piece of 64 KiB inside a bytes object holds 16 whole pages wherever it begins.
    assert "512 pages of LIB:/lib/big.so" in reason


def test_one_page_is_enough_and_is_named() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("hide", how="odd", page=88, pages=1)])
        reason = assert_only_false(verify(stage.system), NO_COPIES)
    assert "1 page of LIB:/lib/three.so" in reason


def test_page_over_the_kernels_own_code() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("hide", how="vdso", page=88, pages=1)])
        assert "/lib/three.so in private memory [vdso]" in assert_only_false(verify(stage.system), NO_COPIES)


@pytest.mark.parametrize("how", ["moving", "moving_between_processes"])
def test_a_copy_that_moves_all_the_time_is_found_each_time(how: str) -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("hide", how=how, page=8, pages=40)])
        verdicts = {verify(stage.system).verdict for _ in range(10)}
        assert "guest LINUX01 (kernel): " in assert_only_false(verify(stage.system), NO_COPIES)
    assert verdicts == {"refuted"}


def test_metadata_is_content_too() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("hide", how="bytes", page=0, pages=2)])
        assert "2 pages of LIB:file system metadata" in assert_only_false(verify(stage.system), NO_COPIES)


def test_copy_in_the_fork_server_counts_for_all_that_inherit_it() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        stage.fork_server_keeps()
        for _ in range(2):
            stage.guest(map_all())
        result = verify(stage.system)
    reason = assert_only_false(result, NO_COPIES)
    assert "the fork server (kernel): 40 pages of LIB:/lib/one.so" in reason
    assert "LINUX01" not in reason


def test_each_guest_that_maps_a_copied_frame_is_named(tmp_path: object) -> None:
    with Stage() as stage:
        content = random_content(4, seed=5)
        stage.publish(content, (File(b"/lib/small.so", ((0, 0, 4),)),))
        stage.fork_server_keeps()
        for _ in range(3):
            stage.guest([order("map", at=0, page=0, pages=4)])
        reason = assert_only_false(verify(stage.system), NO_COPIES)
    for holder in ("the fork server", "guest LINUX01", "guest LINUX02", "guest LINUX03"):
        assert f"{holder} (kernel): 4 pages of LIB:/lib/small.so" in reason


@pytest.mark.parametrize("origin", ["engine", "program"])
def test_copies_of_engines_and_programs_are_listed_and_do_not_refute(origin: str) -> None:
    with Stage() as stage:
        stage.publish()
        orders = [order("storage", pages=64), order("read_into", address=0, page=8, pages=40)]
        start = stage.window.start
        origins = ((AddressRange(start, start + 40 * PAGE_SIZE), origin),)
        stage.guest([*map_all(), *orders], origins=origins)
        result = verify(stage.system)
    assert_verified(result)
    assert f"guest LINUX01 ({origin}): 40 pages of LIB:/lib/one.so" in detail(result, NO_COPIES)


def test_origin_covers_only_its_addresses() -> None:
    with Stage() as stage:
        stage.publish()
        orders = [order("storage", pages=64), order("read_into", address=0, page=8, pages=40)]
        start = stage.window.start
        stage.guest([*map_all(), *orders], origins=((AddressRange(start, start + 10 * PAGE_SIZE), "program"),))
        assert "LINUX01 (kernel): 30 pages" in assert_only_false(verify(stage.system), NO_COPIES)


def test_rewritten_private_page_of_the_segment_is_a_copy() -> None:
    with Stage() as stage:
        stage.publish()
        device = order("device", address=0x20000000, pages=PAGES, private=True)
        stage.guest([device, order("rewrite", address=0x20008000, pages=3), *map_all()[1:]])
        reason = assert_only_false(verify(stage.system), NO_COPIES, ONE_FRAME)
    assert "3 pages of LIB:/lib/one.so in a written private mapping of /dev/shm/" in reason


def test_empty_and_repetitive_pages_are_no_copies() -> None:
    # Zeros, one repeated byte, and a page with one odd byte, as an emptied directory has it, are everywhere.
    odd = bytearray(PAGE_SIZE)
    odd[5] = 0x10
    low_entropy = bytes(PAGE_SIZE) + b"\xff" * PAGE_SIZE + bytes(odd)
    content = random_content(5) + low_entropy
    with Stage() as stage:
        stage.publish(content, (File(b"/a", ((0, 0, 8),)),))
        stage.guest([order("map", at=0, page=0, pages=8), order("hide", how="bytearray", page=5, pages=3)])
        assert_verified(verify(stage.system))


@pytest.mark.parametrize("how", ["bytes", "odd", "private"])
def test_repeating_pages_with_content_are_found(how: str) -> None:
    # Every word of a page alike, all pages alike but for a number, and one page twice.
    pages = [number.to_bytes(8, "big") * 512 for number in range(1, 9)]
    content = b"".join([*pages, pages[3], bytes(4000) + b"a few bytes at the end of nothing"[:96].ljust(96)])
    with Stage() as stage:
        stage.publish(content, (File(b"/a", ((0, 0, 10),)),))
        stage.guest([order("map", at=0, page=0, pages=10), order("hide", how=how, page=0, pages=10)])
        assert "9 pages of LIB:/a" in assert_only_false(verify(stage.system), NO_COPIES)


def test_other_content_is_no_copy() -> None:
    with Stage() as stage:
        stage.publish()
        stage.publish(random_content(seed=7), FILES, name="OTHER")
        stage.guest([*map_all(), *map_file(FILES[0], 7000, segment=1)])
        assert_verified(verify(stage.system))
