"""glibc's malloc: keep less of what was freed, or nothing."""

import ctypes

_M_PERTURB, _M_ARENA_MAX = -6, -8  # malloc.h of glibc
# In the environment of a process that overwrites all memory that it frees, until `leave_freed_memory`; mallopt(3).
OVERWRITE_FREED_MEMORY = {"MALLOC_PERTURB_": "1"}


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
    _mallopt(_M_ARENA_MAX, 1)


def leave_freed_memory() -> None:
    """Overwrite freed memory no longer, which OVERWRITE_FREED_MEMORY began; without glibc nothing happens."""
    _mallopt(_M_PERTURB, 0)


def _mallopt(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
