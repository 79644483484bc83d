"""Where a machine has programs of its initramfs, such as busybox, whose C library may be one that a segment holds, too.

They are found by content: the kernel has a file of its root file system in whole pages while that file exists.
"""

from collections.abc import Sequence

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.pagemap import runs_of
from dcss.account.targets import AddressRange
from dcss.engines.linux.storage_pages import marks_of, present_pages, words_of


def unpacked_ranges(pid: int, storage: AddressRange, files: Sequence[bytes]) -> tuple[AddressRange, ...]:
    """Return the addresses in QEMU's process `pid` where the machine's `storage` holds pages of these files.

    Raises OSError, or an error of measurement, where the process has ended or cannot be read.
    """
    wanted = {page for file in files for page in _pages(file)}
    found: list[int] = []
    for first_page, content in present_pages(pid, storage):
        found += [first_page + page for page in _equal_pages(content, wanted)]
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
    marks = np.unique(marks_of(words_of(b"".join(wanted))))
    candidates = np.flatnonzero(np.isin(marks_of(words_of(content)), marks))
    return [page for page in candidates.tolist() if content[page << PAGE_SHIFT : (page + 1) << PAGE_SHIFT] in wanted]
