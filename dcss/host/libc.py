"""Memory that a proof needed for a moment, given back: glibc keeps most of what is freed for the next one."""

import ctypes


def give_back_free_memory() -> None:
    """Have malloc give the kernel the free pages of this process (malloc_trim(3)); without glibc nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
