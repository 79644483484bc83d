"""The bytes of a segment's object, read by calls: a load from a mapping would end CP where the object was cut short."""

import hashlib
import os
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.pagemap import Pages

Bytes = npt.NDArray[np.uint8]

_READ_PAGES = 1 << 10


class SegmentContent:
    """`pages` pages of the object behind `descriptor`. What lies behind the end of a shorter object reads as zeros."""

    def __init__(self, descriptor: int, pages: int) -> None:
        self._descriptor = descriptor
        self.pages = pages

    def __len__(self) -> int:
        return self.pages

    def size_bytes(self) -> int:
        """Return the size that the object has now."""
        return os.fstat(self._descriptor).st_size

    def read_into(self, rows: Bytes, first_page: int) -> None:
        """Fill `rows`, one for each page, from page `first_page` on."""
        data = rows.data.cast("B")
        done = 0
        while done < len(data):
            part = os.preadv(self._descriptor, [data[done:]], (first_page << PAGE_SHIFT) + done)
            if not part:
                rows.reshape(-1)[done:] = 0
                return
            done += part

    def digest(self) -> str:
        """Return the SHA-256 in hex of all pages."""
        digest, buffer = hashlib.sha256(), np.empty((_READ_PAGES, PAGE_SIZE), np.uint8)
        for first_page in range(0, self.pages, _READ_PAGES):
            rows = buffer[: self.pages - first_page]
            self.read_into(rows, first_page)
            digest.update(rows.data)
        return digest.hexdigest()

    def gather_into(self, rows: Bytes, wanted: Pages) -> None:
        """Fill `rows` with pages in any order; neighbours are read in one call."""
        if not len(wanted):
            return
        starts = np.concatenate(([0], np.flatnonzero(np.diff(wanted) != 1) + 1, [len(wanted)])).tolist()
        for start, end in pairwise(starts):
            self.read_into(rows[start:end], int(wanted[start]))
