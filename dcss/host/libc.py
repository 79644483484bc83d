"""glibc's malloc: keep less of what was freed."""

import ctypes

_M_ARENA_MAX = -8  # malloc.h of glibc


def give_back_free_memory() -> None:
    """Return the free pages of this process's heap to the kernel (malloc_trim(3)); do nothing without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def use_one_arena() -> None:
    """Have malloc serve all threads from one arena (mallopt(3), M_ARENA_MAX); without glibc nothing happens.

    Worker threads would get arenas of their own, which keep what each of them once needed at most. Python's own lock
    lets one thread at a time allocate anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
