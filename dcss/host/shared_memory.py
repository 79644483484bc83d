"""multiprocessing.shared_memory without its resource tracker: whoever creates a block unlinks it, and nobody else does.

Before Python 3.13, which has `track=False`, each SharedMemory is entered with a tracker: a process of its own, which
unlinks the block when the program that only attached it ends.
"""

import sys
from collections.abc import Sized
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from threading import Lock

_register_lock = Lock()


def create_block(name: str, size_bytes: int) -> SharedMemory:
    """Create a block of mode 0600. Raises FileExistsError, and OSError where it cannot be had."""
    return _opened(name, create=True, size_bytes=size_bytes)


def attach_block(name: str) -> SharedMemory:
    """Attach a block that exists. Raises FileNotFoundError, PermissionError, and ValueError where it is empty."""
    return _opened(name, create=False, size_bytes=0)


def _opened(name: str, *, create: bool, size_bytes: int) -> SharedMemory:
    if sys.version_info >= (3, 13):
        return SharedMemory(name, create=create, size=size_bytes, track=False)
    with _register_lock:
        register = resource_tracker.register
        resource_tracker.register = _ignore  # taking it off the tracker afterwards would start the tracker's process
        try:
            return SharedMemory(name, create=create, size=size_bytes)
        finally:
            resource_tracker.register = register


def _ignore(name: Sized, rtype: str) -> None:
    """Stand in for the tracker's `register`."""
    del name, rtype
