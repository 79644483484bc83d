"""Where a machine has its own programs: whole pages that are equal, and nothing else."""

import mmap
import os
from collections.abc import Iterator
from ctypes import addressof, c_char

import pytest

from dcss.abi.page import PAGE_SIZE
from dcss.account.targets import AddressRange
from dcss.engines.linux.initramfs_pages import unpacked_ranges
from dcss.host.files import empty_file

PROGRAM = bytes(range(256)) * 40  # two pages and a half
OTHER = PROGRAM[:100] + b"?" + PROGRAM[101:PAGE_SIZE]


@pytest.fixture
def storage() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, 32 * PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as made:
        yield made


def test_whole_equal_pages_are_found_and_nothing_else(storage: mmap.mmap) -> None:
    start = addressof(c_char.from_buffer(storage))
    storage[4 * PAGE_SIZE : 6 * PAGE_SIZE] = PROGRAM[: 2 * PAGE_SIZE]
    storage[9 * PAGE_SIZE : 9 * PAGE_SIZE + len(PROGRAM) - 2 * PAGE_SIZE] = PROGRAM[2 * PAGE_SIZE :]
    storage[12 * PAGE_SIZE : 13 * PAGE_SIZE] = OTHER
    storage[15 * PAGE_SIZE + 8 : 16 * PAGE_SIZE + 8] = PROGRAM[:PAGE_SIZE]
    storage[20 * PAGE_SIZE] = 0  # present, and a page of zeros
    area = AddressRange(start, start + 32 * PAGE_SIZE)
    found = unpacked_ranges(os.getpid(), area, [PROGRAM, bytes(PAGE_SIZE)])
    assert [((each.start - start) // PAGE_SIZE, (each.end - start) // PAGE_SIZE) for each in found] == [(4, 6), (9, 10)]
    assert unpacked_ranges(os.getpid(), area, []) == ()


def test_an_emptied_file_holds_zeros_for_those_who_map_it() -> None:
    descriptor = os.memfd_create("archive")
    try:
        os.write(descriptor, PROGRAM)
        with mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            assert mapped[: len(PROGRAM)] == PROGRAM
            empty_file(descriptor)
            status = os.fstat(descriptor)
            assert (status.st_size, status.st_blocks) == (len(PROGRAM), 0)
            assert not any(mapped[:])
    finally:
        os.close(descriptor)
