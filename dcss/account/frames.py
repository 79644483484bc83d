"""Frames of the host: whether the kernel shows their numbers, and how many page-table entries map each.

Source: Documentation/admin-guide/mm/pagemap.rst of Linux (/proc/kpagecount and kpageflags, 64 bits for each frame). A
kernel built with CONFIG_NO_PAGE_MAPCOUNT gives averages for large folios there, by which books do not close.
"""

import os

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.abi.pagemap import ENTRY_SIZE_BYTES, KPF_COMPOUND_HEAD, KPF_COMPOUND_TAIL, KPF_KSM, KPF_ZERO_PAGE
from dcss.account.arrays import distinct
from dcss.account.pagemap import Entries, Flags, Pagemap, frames_of
from dcss.errors import MeasurementDeniedError

_KPAGECOUNT = "/proc/kpagecount"
_KPAGEFLAGS = "/proc/kpageflags"
_TABLE_FRAMES = 1 << 26  # of 256 GiB: a table of 64 MiB, which is not touched where there are no frames
_GAP_FRAMES = 64  # reading the counts of this many frames in vain costs less than another call


def hidden_because() -> str | None:
    """Return why frames cannot be seen, or None where they can."""
    try:
        # Opening is refused to ordinary users; in a container it may succeed and the pagemap still hide frames.
        os.close(os.open(_KPAGECOUNT, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return f"{_KPAGECOUNT}: {error.strerror}; frames are shown to root (CAP_SYS_ADMIN) only"
    touched = np.ones(1, np.uint8)
    with Pagemap(os.getpid()) as pagemap:
        if frames_of(pagemap.read(touched.ctypes.data >> PAGE_SHIFT, 1))[0] == 0:
            return "/proc/PID/pagemap: frame numbers read as 0; they are shown to CAP_SYS_ADMIN only"
    return None


class FrameSet:
    """Frames of which it is asked often whether others are among them."""

    def __init__(self) -> None:
        self._ascending: Entries = np.zeros(0, np.uint64)
        self._table: Flags | None = None  # for each frame up to one behind the last

    def add(self, frames: Entries) -> None:
        """Add frames."""
        self._ascending, self._table = distinct(np.concatenate([self._ascending, frames])), None

    def has(self, frames: Entries) -> Flags:
        """Say of each frame whether it is among these."""
        if not len(self._ascending):
            return np.zeros(len(frames), np.bool_)
        behind = int(self._ascending[-1]) + 1
        if behind > _TABLE_FRAMES:
            places = np.minimum(np.searchsorted(self._ascending, frames), len(self._ascending) - 1)
            found: Flags = self._ascending[places] == frames
            return found
        if self._table is None:
            self._table = np.zeros(behind + 1, np.bool_)
            self._table[self._ascending] = True
        return self._table[np.minimum(frames, np.uint64(behind))]


def map_counts(frames: Entries, *, complete: bool = False) -> Entries:
    """Return for each frame number how many page-table entries map it, in all processes of the machine.

    A frame beyond the end of the counts counts 0 or, where they must be `complete`, raises MeasurementDeniedError.
    """
    return _values_of(_KPAGECOUNT, frames, complete=complete)


def in_large_folios(frames: Entries) -> Flags:
    """Say which frames are a part of a larger page, such as a huge one; 0 is none."""
    flags = np.where(frames != 0, _values_of(_KPAGEFLAGS, frames), np.uint64(0))
    large: Flags = (flags & np.uint64(KPF_COMPOUND_HEAD | KPF_COMPOUND_TAIL)) != 0
    return large


def are_zero_pages(frames: Entries) -> Flags:
    """Say which frames are the kernel's zero page, or its huge one; 0 is none."""
    flags = np.where(frames != 0, _values_of(_KPAGEFLAGS, frames), np.uint64(0))
    zero: Flags = (flags & np.uint64(KPF_ZERO_PAGE)) != 0
    return zero


def are_merged(frames: Entries) -> Flags:
    """Say which frames KSM has merged of equal pages; 0 is none."""
    flags = np.where(frames != 0, _values_of(_KPAGEFLAGS, frames), np.uint64(0))
    merged: Flags = (flags & np.uint64(KPF_KSM)) != 0
    return merged


def _values_of(path: str, frames: Entries, *, complete: bool = False) -> Entries:
    """Return what a file of 64 bits for each frame says; neighbouring frames are read in one call."""
    if not len(frames):
        return np.zeros(0, np.uint64)
    # Guests that share have most frames in common: each is looked up once.
    numbers, where = np.unique(frames, return_inverse=True)
    breaks = np.flatnonzero(np.diff(numbers) > _GAP_FRAMES) + 1
    firsts = numbers[np.concatenate(([0], breaks))]
    lasts = numbers[np.concatenate((breaks - 1, [len(numbers) - 1]))]
    lengths = (lasts - firsts + np.uint64(1)).astype(np.int64)
    ends = np.cumsum(lengths)
    values = np.zeros(int(ends[-1]), np.uint64)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for first, start, end in zip(firsts.tolist(), (ends - lengths).tolist(), ends.tolist(), strict=True):
            # Short behind the last frame of memory, where zeros stay.
            wanted_bytes = (end - start) * ENTRY_SIZE_BYTES
            done_bytes = os.preadv(descriptor, [values[start:end].data], first * ENTRY_SIZE_BYTES)
            if complete and done_bytes < wanted_bytes:
                found = f"found {done_bytes:,} bytes at frame {first:#x}, wanted {wanted_bytes:,}"
                raise MeasurementDeniedError(f"{path}: {found}: the kernel does not count these frames")
    finally:
        os.close(descriptor)
    run = np.searchsorted(firsts, numbers, side="right") - 1
    places = (ends - lengths)[run] + (numbers - firsts[run]).astype(np.int64)
    of_frames: Entries = values[places][where.reshape(-1)]
    return of_frames
