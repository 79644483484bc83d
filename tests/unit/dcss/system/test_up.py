"""A system that is up: what was made for its start is left out of later garbage collections."""

import gc
import weakref

from dcss.system.up import exempt_from_collection


class Cycle:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


def test_what_lives_is_passed_over_and_garbage_is_freed_first() -> None:
    garbage = weakref.ref(Cycle())
    lives = Cycle()
    alive = weakref.ref(lives)
    try:
        exempt_from_collection()
        del lives
        gc.collect()
        assert garbage() is None
        assert alive() is not None
    finally:
        gc.unfreeze()
    gc.collect()
    assert alive() is None
