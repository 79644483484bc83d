"""The pages of a machine's storage, as they stand in QEMU's memory."""

import mmap
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.pagemap import Pagemap
from dcss.account.targets import AddressRange

_CHUNK_PAGES = 4096  # that are read at once
_WORD_COLUMNS = (3, 130, 257, 384)  # of the 512 words of a page: pages that differ in none of these are compared whole
Words = npt.NDArray[np.uint64]


def present_pages(pid: int, storage: AddressRange) -> Iterator[tuple[int, bytes]]:
    """Yield the pages that are present in `storage` of process `pid`: the number of the first one, and their bytes.

    Raises OSError, or an error of measurement, where the process has ended or cannot be read.
    """
    first_page = storage.start >> PAGE_SHIFT
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Pagemap(pid) as pagemap:
            runs = pagemap.populated(first_page, (storage.end - storage.start) >> PAGE_SHIFT)
        for start, pages in runs:
            for done in range(0, pages, _CHUNK_PAGES):
                size_bytes = min(_CHUNK_PAGES, pages - done) << PAGE_SHIFT
                yield start + done, os.pread(memory, size_bytes, (start + done) << PAGE_SHIFT)
    finally:
        os.close(memory)


def words_of(content: bytes | mmap.mmap) -> Words:
    """Return the 512 words of each page."""
    whole_bytes = len(content) >> PAGE_SHIFT << PAGE_SHIFT
    return np.frombuffer(content, np.uint8)[:whole_bytes].view(np.uint64).reshape(-1, PAGE_SIZE // 8)


def marks_of(words: Words) -> Words:
    """Return a number for each page that equal pages have in common."""
    marks: Words = np.bitwise_xor.reduce(words[:, _WORD_COLUMNS], axis=1)
    return marks
