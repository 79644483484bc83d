"""Where a machine has its kernel, of which a segment may hold pages, too: tables, for one, that a library also has.

The kernel is found by content, not by its own word: pages that are in storage as in the unpacked image say how far it
was moved. Of the others there, those are the kernel's that are mostly as in the image: relocation and patching change
words. Storage that the kernel has freed, as what only its start needs, is not.
"""

import mmap

import numpy as np
import numpy.typing as npt

from dcss.abi.page import PAGE_SHIFT
from dcss.account.pagemap import runs_of
from dcss.account.targets import AddressRange
from dcss.engines.linux.moved_code import copies_of, moved_code
from dcss.engines.linux.storage_pages import Words, marks_of, present_pages, words_of

_LEAST_PAGES = 16  # that must agree on where the kernel is
_EQUAL_SHARE = 0.5  # of a page's words that are not 0


def kernel_ranges(pid: int, storage: AddressRange, image: bytes | mmap.mmap) -> tuple[AddressRange, ...]:
    """Return the addresses in QEMU's process `pid` where the machine's `storage` holds the unpacked kernel `image`.

    The image has whole pages. Raises OSError, or an error of measurement, where the process has ended or cannot be
    read.
    """
    kernel = words_of(image)
    marks, places, repeated = np.unique(marks_of(kernel), return_index=True, return_counts=True)
    marks, places = marks[repeated == 1], places[repeated == 1]
    code = moved_code(image)
    moved: list[npt.NDArray[np.int64]] = []
    copies: list[tuple[int, int]] = []
    for first_page, content in present_pages(pid, storage):
        words = words_of(content)
        moved.append(first_page + _moved(marks, places, words))
        if code is not None:
            copies += [(first_page + page, pages) for page, pages in copies_of(kernel, code, words)]
    distances, votes = np.unique(np.concatenate(moved), return_counts=True) if moved else (np.array([0]), np.array([0]))
    if not len(votes) or votes.max() < _LEAST_PAGES:
        return ()
    start = int(distances[votes.argmax()])
    around = AddressRange(
        max(storage.start, start << PAGE_SHIFT), min(storage.end, (start + len(kernel)) << PAGE_SHIFT)
    )
    found = {
        page + first_page
        for first_page, content in present_pages(pid, around)  # read again: less than to keep all of storage
        for page in _mostly_equal(kernel, words_of(content), first_page - start)
    }
    # The code that runs below 2 GiB is copied there once; whoever has it again has a copy.
    elsewhere = [copy for copy in copies if code is not None and copy[0] != start + code]
    found |= {page + offset for page, pages in elsewhere[:1] for offset in range(pages)}
    return tuple(
        AddressRange(first << PAGE_SHIFT, (first + pages) << PAGE_SHIFT)
        for first, pages in runs_of(np.array(sorted(found), np.int64))
    )


def _moved(marks: Words, places: npt.NDArray[np.int64], words: Words) -> npt.NDArray[np.int64]:
    """Return how far each page of `words` that is one of the kernel's lies behind its place there."""
    here = marks_of(words)
    at = np.minimum(np.searchsorted(marks, here), max(len(marks) - 1, 0))
    known = np.flatnonzero(marks[at] == here) if len(marks) else np.empty(0, np.int64)
    distances: npt.NDArray[np.int64] = known - places[at[known]]
    return distances


def _mostly_equal(kernel: Words, words: Words, offset: int) -> list[int]:
    """Return the numbers of the pages of `words`, of which the first is the kernel's page `offset`, that are alike."""
    first, end = max(0, -offset), min(len(words), len(kernel) - offset)
    if first >= end:
        return []
    wanted = kernel[first + offset : end + offset]
    counted = np.count_nonzero(wanted, axis=1)
    equal = np.count_nonzero((words[first:end] == wanted) & (wanted != 0), axis=1)
    return [first + page for page in np.flatnonzero((counted > 0) & (equal >= counted * _EQUAL_SHARE)).tolist()]
