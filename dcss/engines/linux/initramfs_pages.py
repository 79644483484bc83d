"""Where a machine has programs of its initramfs, such as busybox, whose C library may be one that a segment holds, too.

They are found by content: the kernel has a file of its root file system in whole pages while that file exists.
"""

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.pagemap import Pagemap, runs_of
from dcss.account.targets import AddressRange

_CHUNK_PAGES = 4096  # that are read and compared at once
_WORD_COLUMNS = (3, 130, 257, 384)  # of the 512 words of a page: pages that differ in none of these are compared whole


def unpacked_ranges(pid: int, storage: AddressRange, files: Sequence[bytes]) -> tuple[AddressRange, ...]:
    """Return the addresses in QEMU's process `pid` where the machine's `storage` holds pages of these files.

    Raises OSError, or an error of measurement, where the process has ended or cannot be read.
    """
    wanted = {page for file in files for page in _pages(file)}
    found: list[int] = []
    first_page = storage.start >> PAGE_SHIFT
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Pagemap(pid) as pagemap:
            runs = pagemap.populated(first_page, (storage.end - storage.start) >> PAGE_SHIFT)
        for start, pages in runs:
            for done in range(0, pages, _CHUNK_PAGES):
                here = start + done
                size_bytes = min(_CHUNK_PAGES, pages - done) << PAGE_SHIFT
                content = os.pread(memory, size_bytes, here << PAGE_SHIFT)
                found += [here + page for page in _equal_pages(content, wanted)]
    finally:
        os.close(memory)
    return tuple(
        AddressRange(start << PAGE_SHIFT, (start + pages) << PAGE_SHIFT)
        for start, pages in runs_of(np.array(found, np.int64))
    )


def _pages(content: bytes) -> Sequence[bytes]:
    """Return the pages of a file; the last one ends with zeros. A page of zeros is nobody's."""
    padded = content + bytes(-len(content) % PAGE_SIZE)
    pages = (padded[start : start + PAGE_SIZE] for start in range(0, len(padded), PAGE_SIZE))
    return [page for page in pages if any(page)]


def _equal_pages(content: bytes, wanted: set[bytes]) -> list[int]:
    """Return the numbers of the pages of `content` that are among `wanted`."""
    if not wanted:
        return []
    marks = np.unique(_marks(np.frombuffer(b"".join(wanted), np.uint8)))
    candidates = np.flatnonzero(np.isin(_marks(np.frombuffer(content, np.uint8)), marks))
    return [page for page in candidates.tolist() if content[page << PAGE_SHIFT : (page + 1) << PAGE_SHIFT] in wanted]


def _marks(content: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return a number for each page that equal pages have in common."""
    words = content[: len(content) >> PAGE_SHIFT << PAGE_SHIFT].view(np.uint64).reshape(-1, PAGE_SIZE // 8)
    marks: npt.NDArray[np.uint64] = np.bitwise_xor.reduce(words[:, _WORD_COLUMNS], axis=1)
    return marks
