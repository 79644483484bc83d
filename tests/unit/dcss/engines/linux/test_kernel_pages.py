"""Where a machine has its kernel: at one place, moved and patched, and nothing else that is alike."""

import mmap
import os
import random
from collections.abc import Iterator
from ctypes import addressof, c_char

import pytest

from dcss.abi.page import PAGE_SIZE
from dcss.account.targets import AddressRange
from dcss.engines.linux.kernel_pages import kernel_ranges

PAGES, KERNEL_PAGES, AT = 128, 40, 30
KERNEL = random.Random(2).randbytes(KERNEL_PAGES * PAGE_SIZE)


def page_of(number: int) -> bytes:
    return KERNEL[number * PAGE_SIZE : (number + 1) * PAGE_SIZE]


@pytest.fixture
def storage() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, PAGES * PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as made:
        yield made


def found_in(storage: mmap.mmap, kernel: bytes = KERNEL) -> list[tuple[int, int]]:
    start = addressof(c_char.from_buffer(storage))
    ranges = kernel_ranges(os.getpid(), AddressRange(start, start + PAGES * PAGE_SIZE), kernel)
    return [((each.start - start) // PAGE_SIZE, (each.end - start) // PAGE_SIZE) for each in ranges]


def test_a_kernel_is_found_where_it_is_and_a_copy_of_its_pages_elsewhere_is_none(storage: mmap.mmap) -> None:
    storage[AT * PAGE_SIZE : (AT + KERNEL_PAGES) * PAGE_SIZE] = KERNEL
    for number in range(5):  # as a file of the kernel's in the page cache
        storage[(100 + number) * PAGE_SIZE : (101 + number) * PAGE_SIZE] = page_of(number)
    assert found_in(storage) == [(AT, AT + KERNEL_PAGES)]


def test_what_is_relocated_is_the_kernel_s_and_what_took_the_place_of_its_start_is_not(storage: mmap.mmap) -> None:
    storage[AT * PAGE_SIZE : (AT + KERNEL_PAGES) * PAGE_SIZE] = KERNEL
    for page in range(AT + 4, AT + 10):
        for word in range(0, 512, 3):
            at = page * PAGE_SIZE + 8 * word
            storage[at : at + 8] = bytes(8)
    for page in (12, 13):  # freed, and used again: for a page of the kernel's own file
        at = (AT + page) * PAGE_SIZE
        storage[at : at + PAGE_SIZE] = page_of(page + 5)
    storage[(AT + 20) * PAGE_SIZE : (AT + 21) * PAGE_SIZE] = bytes(PAGE_SIZE)
    assert found_in(storage) == [(AT, AT + 12), (AT + 14, AT + 20), (AT + 21, AT + KERNEL_PAGES)]


def test_a_few_pages_alike_are_no_kernel(storage: mmap.mmap) -> None:
    storage[AT * PAGE_SIZE : (AT + 8) * PAGE_SIZE] = KERNEL[: 8 * PAGE_SIZE]
    assert found_in(storage) == []
    assert found_in(storage, bytes(4 * PAGE_SIZE)) == []


def test_code_that_is_copied_below_2_gib_is_the_kernel_s_once(storage: mmap.mmap) -> None:
    # sam31; diag %r2,%r4,CODE; sam64, for each code that takes 31-bit addresses
    calls = b"".join(
        bytes.fromhex(f"010d 8324{code} 010e") for code in ("0014", "0210", "008c", "026c", "0308", "000c")
    )
    code = calls.ljust(PAGE_SIZE, b"\x07")
    kernel = KERNEL[: 20 * PAGE_SIZE] + code + KERNEL[21 * PAGE_SIZE :]
    storage[AT * PAGE_SIZE : (AT + KERNEL_PAGES) * PAGE_SIZE] = kernel
    both = code + page_of(21)
    for page in (10, 100):
        storage[page * PAGE_SIZE : (page + 2) * PAGE_SIZE] = both
    assert found_in(storage, kernel) == [(10, 12), (AT, AT + KERNEL_PAGES)]
    storage[12 * PAGE_SIZE : 12 * PAGE_SIZE + 1] = b"x"
    storage[11 * PAGE_SIZE : 12 * PAGE_SIZE] = bytes(PAGE_SIZE)  # its data have changed
    assert found_in(storage, kernel) == [(10, 11), (AT, AT + KERNEL_PAGES)]
