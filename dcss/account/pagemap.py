"""/proc/PID/pagemap: one 64-bit entry for each virtual page, read by runs into numpy arrays.

Source: Documentation/admin-guide/mm/pagemap.rst of Linux, also for the PAGEMAP_SCAN ioctl (Linux 6.7 and later),
which finds the populated pages of a range without an entry for each of its pages.
"""

import fcntl
import os
import struct
from contextlib import AbstractContextManager
from errno import EINVAL, ENOTTY
from typing import Self

import numpy as np
import numpy.typing as npt

from dcss.abi.page import PAGE_SHIFT
from dcss.abi.pagemap import (
    ENTRY_SIZE_BYTES,
    PM_FILE,
    PM_GUARD_REGION,
    PM_MMAP_EXCLUSIVE,
    PM_PFRAME_MASK,
    PM_PRESENT,
    PM_SWAP,
)
from dcss.account.proc import ProcessGoneError, open_proc, proc_errors
from dcss.account.smaps import read_smaps

Entries = npt.NDArray[np.uint64]
Pages = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_SCAN_ARGUMENT = struct.Struct("=12Q")  # struct pm_scan_arg of include/uapi/linux/fs.h
_PAGEMAP_SCAN = 3 << 30 | _SCAN_ARGUMENT.size << 16 | ord("f") << 8 | 16
_PAGE_IS_PRESENT = 1 << 3
_PAGE_IS_SWAPPED = 1 << 4
_PAGE_IS_PFNZERO = 1 << 5
_SCAN_REGIONS = 2048
_FIELDS_OF_PAGES = ("Rss", "Swap", "Shared_Hugetlb", "Private_Hugetlb")
_CHUNK_PAGES = 1 << 19  # 4 MiB of entries for 2 GiB of addresses


def is_populated(entries: Entries) -> Flags:
    """Say which virtual pages hold something: a frame, or a page in swap."""
    # A guard marker looks like a page in swap, and cannot be read.
    return _has(entries, PM_PRESENT | PM_SWAP) & ~_has(entries, PM_GUARD_REGION)


def populated_of(entries: Entries) -> Pages:
    """Return the places of the entries that hold something, as is_populated says it, in few passes over them."""
    used = np.flatnonzero(entries >= np.uint64(PM_SWAP))  # the two highest bits: PM_PRESENT and PM_SWAP
    if not np.bitwise_or.reduce(entries) & np.uint64(PM_GUARD_REGION):
        return used
    return used[~_has(entries[used], PM_GUARD_REGION)]


def is_present(entries: Entries) -> Flags:
    """Say which entries map a frame now."""
    return _has(entries, PM_PRESENT)


def is_file(entries: Entries) -> Flags:
    """Say which present entries map a page of a file or of shared memory, rather than a private page."""
    return _has(entries, PM_FILE)


def is_exclusive(entries: Entries) -> Flags:
    """Say which entries map a frame that is mapped once in the whole machine."""
    return _has(entries, PM_MMAP_EXCLUSIVE)


def _has(entries: Entries, bits: int) -> Flags:
    found: Flags = (entries & np.uint64(bits)) != 0
    return found


def frames_of(entries: Entries) -> Entries:
    """Return the frame numbers, 0 where no frame is mapped or its number is not shown."""
    return np.where(is_present(entries), entries & np.uint64(PM_PFRAME_MASK), np.uint64(0))


class Pagemap(AbstractContextManager["Pagemap"]):
    """One process's pagemap. Raises ProcessGoneError where that has ended, MeasurementDeniedError where refused."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = open_proc(pid, "pagemap")
        self._used: list[tuple[int, int]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, first_page: int, pages: int) -> Entries:
        """Return the entries of `pages` virtual pages from page number `first_page` on."""
        entries = np.empty(pages, np.uint64)
        self.read_into(entries, first_page)
        return entries

    def read_into(self, entries: Entries, first_page: int) -> None:
        """Fill `entries` with those of as many virtual pages, from page number `first_page` on."""
        pages = len(entries)
        done = 0
        with proc_errors(self._pid, "pagemap"):
            while done < pages:
                offset = (first_page + done) * ENTRY_SIZE_BYTES
                length = os.preadv(self._descriptor, [entries[done:].data], offset)
                if length == 0:
                    raise ProcessGoneError(self._pid, "pagemap")
                done += length // ENTRY_SIZE_BYTES

    def populated(self, first_page: int, pages: int) -> list[tuple[int, int]]:
        """Return the runs (first page, pages) of present or swapped pages in a range that is mostly empty.

        The zero page, which stands where memory was read and never written, is left out if the kernel tells it apart.
        """
        try:
            return self._scan(first_page, pages)
        except OSError as error:
            if error.errno not in (ENOTTY, EINVAL):  # what a kernel without PAGEMAP_SCAN says
                raise
        return self._read_populated(first_page, pages)

    def _scan(self, first_page: int, pages: int) -> list[tuple[int, int]]:
        # The kernel gives runs of pages alike in the categories asked for: here both are one.
        regions = np.empty((_SCAN_REGIONS, 3), np.uint64)
        start, end = first_page << PAGE_SHIFT, (first_page + pages) << PAGE_SHIFT
        wanted, without = _PAGE_IS_PRESENT | _PAGE_IS_SWAPPED, _PAGE_IS_PFNZERO
        # size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask,
        # category_anyof_mask, return_mask
        head, tail = (_SCAN_ARGUMENT.size, 0), (len(regions), 0, without, without, wanted, wanted)
        runs: list[tuple[int, int]] = []
        while start < end:
            argument = bytearray(_SCAN_ARGUMENT.pack(*head, start, end, 0, regions.ctypes.data, *tail))
            with proc_errors(self._pid, "pagemap"):
                count = fcntl.ioctl(self._descriptor, _PAGEMAP_SCAN, argument, True)
            bounds = (regions[:count, :2] >> np.uint64(PAGE_SHIFT)).tolist()
            runs += [(first, last - first) for first, last in bounds]
            # Not walk_end: Linux 6.18 leaves that at an earlier place where a walk ends in its last part.
            start = int(regions[count - 1, 1]) if count == len(regions) else end
        return runs

    def _read_populated(self, first_page: int, pages: int) -> list[tuple[int, int]]:
        runs: list[tuple[int, int]] = []
        for start, end in self._in_use():
            low, high = max(start, first_page), min(end, first_page + pages)
            for chunk_page in range(low, high, _CHUNK_PAGES):
                entries = self.read(chunk_page, min(_CHUNK_PAGES, high - chunk_page))
                used = np.flatnonzero(is_populated(entries))
                runs += [(chunk_page + first, count) for first, count in runs_of(used)]
        return runs

    def _in_use(self) -> list[tuple[int, int]]:
        """Return the mappings (first page, end page) that hold any page, asked for once: reservations hold none."""
        if self._used is None:
            self._used = [
                (mapping.vma.start >> PAGE_SHIFT, mapping.vma.end >> PAGE_SHIFT)
                for mapping in read_smaps(self._pid)
                if any(mapping.fields_bytes.get(field) for field in _FIELDS_OF_PAGES)
            ]
        return self._used


def runs_of(pages: npt.NDArray[np.integer]) -> list[tuple[int, int]]:
    """Return the runs (first, count) of consecutive numbers in an ascending array."""
    if not len(pages):
        return []
    # A run ends where the next number is not one more.
    breaks = np.flatnonzero(np.diff(pages) != 1) + 1
    firsts = np.concatenate(([0], breaks))
    counts = np.diff(np.concatenate((firsts, [len(pages)])))
    return list(zip(pages[firsts].tolist(), counts.tolist(), strict=True))
