"""Private pages in a guest's user area: memory that stands where a file's pages should, whatever it holds.

A hole of a file is the kernel's one zero page there, which is nobody's; a program's own ranges are named by its engine.
"""

import os
from typing import NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.frames import are_zero_pages
from dcss.account.maps import Vma
from dcss.account.pagemap import Entries, Flags, Pages, frames_of, is_exclusive, is_present
from dcss.account.proc import open_proc, proc_errors
from dcss.account.space import ProcessPages
from dcss.account.targets import GuestTarget


class PrivatePages(NamedTuple):
    """A run of private pages of one process, from host address `address` on."""

    pid: int
    address: int
    pages: int


def private_pages(space: ProcessPages, target: GuestTarget, *, frames: bool) -> list[PrivatePages]:
    """Return the anonymous pages of the process in the guest's user area that are no zero page and no program's own."""
    intruding: list[Pages] = []
    for vma in space.vmas:
        if vma.inode or not target.user_area.overlaps(vma.start, vma.end):
            continue
        pages, entries = _pages_of(space, vma, target)
        if not len(pages):
            continue
        zero = are_zero_pages(frames_of(entries)) if frames else _read_as_zeros(space.pid, pages, entries)
        intruding.append(pages[~zero])
    if not intruding:
        return []
    pages = np.concatenate(intruding)
    own = np.fromiter((target.origin_of(page << PAGE_SHIFT) == "program" for page in pages.tolist()), np.bool_)
    return list(_runs(space.pid, pages[~own]))


def _pages_of(space: ProcessPages, vma: Vma, target: GuestTarget) -> tuple[Pages, Entries]:
    first = max(vma.start, target.user_area.start) >> PAGE_SHIFT
    end = min(vma.end, target.user_area.end) >> PAGE_SHIFT
    places = slice(*np.searchsorted(space.pages, (first, end)).tolist())
    return space.pages[places], space.entries[places]


def _read_as_zeros(pid: int, pages: Pages, entries: Entries) -> Flags:
    """Say which pages may be the zero page, where frames are hidden: mapped elsewhere too, and full of zeros."""
    zero: Flags = is_present(entries) & ~is_exclusive(entries)
    for run in _runs(pid, pages[zero]):
        content = np.frombuffer(_read(run), np.uint8)
        blank = ~content.reshape(run.pages, PAGE_SIZE).any(axis=1)
        first = int(np.searchsorted(pages, run.address >> PAGE_SHIFT))
        zero[first : first + run.pages] = blank
    return zero


def _read(run: PrivatePages) -> bytes:
    descriptor = open_proc(run.pid, "mem")
    try:
        with proc_errors(run.pid, "mem"):
            content = os.pread(descriptor, run.pages * PAGE_SIZE, run.address)
    finally:
        os.close(descriptor)
    return content.ljust(run.pages * PAGE_SIZE, b"\xff")  # what cannot be read is no zero page


def _runs(pid: int, pages: Pages) -> list[PrivatePages]:
    """Join neighbouring pages, which ascend."""
    if not len(pages):
        return []
    breaks = np.flatnonzero(np.diff(pages) != 1) + 1
    firsts = np.concatenate(([0], breaks))
    lengths = np.diff(np.concatenate((firsts, [len(pages)])))
    return [
        PrivatePages(pid, first << PAGE_SHIFT, length)
        for first, length in zip(pages[firsts].tolist(), lengths.tolist(), strict=True)
    ]
