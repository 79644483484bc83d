"""The code that an s390x kernel copies below 2 GiB as it starts, since it must run with addresses of 31 bits.

Sources: arch/s390/kernel/text_amode31.S and diag.c of Linux. Its page is the one of the image that switches between
addressing modes again and again, around DIAGNOSEs that take 31-bit addresses only.
"""

import re
from collections import Counter
from collections.abc import Iterator
from mmap import mmap
from typing import Final

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.engines.linux.storage_pages import Words

_SIGNS: Final = (
    (re.compile(rb"\x01\x0d"), 3),  # SAM31
    (re.compile(rb"\x01\x0e"), 3),  # SAM64
    (re.compile(rb"\x83[\0-\xff](?:\x00[\x0c\x14\x8c]|\x02[\x10\x6c]|\x03\x08)", re.DOTALL), 4),
)


def moved_code(image: bytes | mmap) -> int | None:
    """Return the number of the page of an unpacked kernel where that code begins; None where it has none, or many."""
    found: set[int] | None = None
    for pattern, least in _SIGNS:
        pages = Counter(match.start() >> PAGE_SHIFT for match in pattern.finditer(image) if match.start() % 2 == 0)
        alike = {page for page, times in pages.items() if times >= least}
        found = alike if found is None else found & alike
    return found.pop() if found is not None and len(found) == 1 else None


def copies_of(kernel: Words, code: int, words: Words) -> Iterator[tuple[int, int]]:
    """Yield where `words` has the kernel's page `code`, and how many pages from that on are the kernel's, of two."""
    for page in np.flatnonzero((words == kernel[code]).all(axis=1)).tolist():
        more = page + 1 < len(words) and code + 1 < len(kernel) and bool((words[page + 1] == kernel[code + 1]).all())
        yield page, 1 + more
