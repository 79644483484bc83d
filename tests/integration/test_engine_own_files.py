"""A segment that holds the emulator's own program: its pages are the engine's, and real copies are found."""

import os
from pathlib import Path

import pytest
from claim_support import BASELINES, NO_COPIES, assert_only_false, assert_verified, detail
from needs_support import needs
from segment_support import FILES, Stage, disk_directory, map_all, order, random_content

from dcss.abi.page import PAGE_SIZE
from dcss.verify.examine import verify

pytestmark = needs("frames")
ONE, TWO, _ = FILES


def _content(file: int) -> bytes:
    ((_, page, pages),) = FILES[file].runs
    return random_content()[page * PAGE_SIZE : (page + pages) * PAGE_SIZE]


def test_pages_of_the_engines_own_files_are_listed_as_its_own() -> None:
    with Stage() as stage, disk_directory() as directory:
        stage.publish()
        program = directory / "one.so"
        program.write_bytes(_content(0))
        stage.fork_server_has_program(program)
        for _ in range(2):
            stage.guest(map_all())
        result = verify(stage.system)
    assert_verified(result)
    listed = detail(result, NO_COPIES)
    assert f"the fork server (engine): 40 pages of LIB:/lib/one.so in a written private mapping of {program}" in listed
    assert f"guest LINUX02 (engine): 40 pages of LIB:/lib/one.so in a written private mapping of {program}" in listed


def test_content_that_is_in_the_file_across_pages_is_its_own_too() -> None:
    with Stage() as stage, disk_directory() as directory:
        stage.publish()
        program = directory / "shifted"
        program.write_bytes(b"x" * 0x80 + _content(0))
        stage.fork_server_has_program(program)
        stage.guest(map_all())
        assert_verified(verify(stage.system))


def test_baselines_are_judged_without_the_engines_own_pages() -> None:
    with Stage() as stage, disk_directory() as directory:
        stage.publish()
        program = directory / "one.so"
        program.write_bytes(_content(0)[: 4 * PAGE_SIZE])
        stage.fork_server_has_program(program)
        stage.guest(map_all())
        reads = [
            order("read_into", address=0, page=48, pages=16),
            order("read_into", address=16 << 12, page=72, pages=16),
        ]
        stage.guest([order("storage", pages=64), *reads], expect="copies")
        result = verify(stage.system)
        assert_verified(result)
        assert "1 file (32 pages) in 1 baseline guest" in detail(result, BASELINES)


def test_another_page_in_the_engines_mapping_is_a_copy() -> None:
    with Stage() as stage, disk_directory() as directory:
        stage.publish()
        program = directory / "one.so"
        program.write_bytes(_content(0))
        stage.fork_server_has_program(program)
        stage.guest(map_all())
        stage.guest([*map_all(), order("write_into", path=str(program), file_page=3, page=8)])
        reason = assert_only_false(verify(stage.system), NO_COPIES)
    assert reason.startswith("guest LINUX02 (kernel): 1 page of LIB:/lib/one.so in a written private mapping of")


@pytest.mark.parametrize("known", [False, True], ids=["a file of its own", "the engine's file"])
def test_a_private_mapping_that_the_guest_made_is_no_excuse(known: bool) -> None:
    with Stage() as stage, disk_directory() as directory:
        stage.publish()
        path = directory / "one.so"
        path.write_bytes(_content(0))
        if known:
            stage.fork_server_has_program(path)
        stage.guest([*map_all(), order("copy_private", path=str(path))])
        reason = assert_only_false(verify(stage.system), NO_COPIES)
    assert f"guest LINUX01 (kernel): 40 pages of LIB:/lib/one.so in a written private mapping of {path}" in reason


def test_a_memory_file_of_the_fork_server_is_no_program() -> None:
    with Stage() as stage:
        stage.publish()
        descriptor = os.memfd_create("program")
        os.write(descriptor, _content(0))
        stage.fork_server_has_program(Path(f"/proc/self/fd/{descriptor}"))
        os.close(descriptor)
        stage.guest(map_all())
        assert "the fork server (kernel): 40 pages" in assert_only_false(verify(stage.system), NO_COPIES)


def test_shared_memory_that_the_fork_server_maps_too_is_searched() -> None:
    with Stage() as stage:
        segment = stage.publish()
        path = Path(f"/dev/shm{segment.shm_name}-copy")
        with path.open("wb+") as shared:
            path.unlink()
            shared.write(_content(0))
            shared.flush()
            stage.fork_server_shares(shared.fileno())
        stage.guest(map_all())
        reason = assert_only_false(verify(stage.system), NO_COPIES)
    assert f"40 pages of LIB:/lib/one.so in shared memory {path} (deleted)" in reason
