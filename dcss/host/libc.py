"""Return freed memory to the kernel: glibc keeps most of it for later."""

import ctypes


def give_back_free_memory() -> None:
    """Return the free pages of this process's heap to the kernel (malloc_trim(3)); do nothing without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
