"""Holes in files: parts that read as zeros and have no pages."""

import ctypes
import os

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE of linux/falloc.h
_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)


def punch_hole(descriptor: int, start: int, size_bytes: int) -> None:
    """Give back the pages of a part of a file, which keeps its size. Raises OSError."""
    if _fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, start, size_bytes):
        errno = ctypes.get_errno()
        raise OSError(errno, f"fallocate(FALLOC_FL_PUNCH_HOLE): {os.strerror(errno)}")
