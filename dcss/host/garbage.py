"""Python's garbage collector, which looks for cycles among all objects again and again."""

import atexit
import gc

_THRESHOLDS = 10_000, 100


def collect_seldom() -> None:
    """Have the collector run seldom, for a program that makes many objects that stay.

    Imports and a system's guests make ten thousands of them: looking through these each time takes a tenth of the time.
    """
    gc.set_threshold(*_THRESHOLDS)


def end_without_collecting() -> None:
    """Have the interpreter end without its last look for cycles: the process gives all memory back anyway."""
    atexit.register(gc.freeze)
