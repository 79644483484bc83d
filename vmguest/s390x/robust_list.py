"""Locks that a thread still holds when it ends: who waits for one is woken, and learns of that (exit_robust_list)."""

import struct
from contextlib import suppress
from typing import Final

from vmguest.s390x.futexes import Futexes
from vmguest.s390x.process import Thread
from vmguest.s390x.space import FaultError

_HEAD: Final = struct.Struct(">QqQ")  # the first lock, from there to its word, one just taken or given back
_POINTER: Final = struct.Struct(">Q")
_WORD: Final = struct.Struct(">I")
_IS_PI: Final = 1  # of a pointer to a lock
_ADDRESSES: Final = (1 << 64) - 1
_MOST_LOCKS: Final = 2048  # the list may be a circle
_WAITERS, _OWNER_DIED, _OWNER = 0x8000_0000, 0x4000_0000, 0x3FFF_FFFF


def give_up_locks(thread: Thread, futexes: Futexes) -> None:
    """Mark the locks of a thread, which leaves its memory, as those of a dead owner. Stops at the first bad address."""
    head, _ = thread.robust_list
    if not head:
        return
    space = thread.process.space
    with suppress(FaultError):
        lock, distance, unfinished = _HEAD.unpack(space.read(head, _HEAD.size))
        for _ in range(_MOST_LOCKS):
            place = lock & ~_IS_PI
            if place == head:
                break
            (following,) = _POINTER.unpack(space.read(place, _POINTER.size))
            if lock != unfinished:
                _give_up(thread, futexes, place + distance & _ADDRESSES, is_pi=bool(lock & _IS_PI))
            lock = following
        if unfinished:
            place, is_pi = (unfinished & ~_IS_PI) + distance & _ADDRESSES, bool(unfinished & _IS_PI)
            _give_up(thread, futexes, place, is_pi=is_pi, unfinished=True)


def _give_up(thread: Thread, futexes: Futexes, address: int, *, is_pi: bool, unfinished: bool = False) -> None:
    space = thread.process.space
    (word,) = _WORD.unpack(space.read(address, _WORD.size))
    if unfinished and not is_pi and not word:  # given back, and nobody was woken yet
        futexes.wake(futexes.key(space, address, private=False), 1)
    if word & _OWNER != thread.tid:
        return
    space.write(address, _WORD.pack(word & _WAITERS | _OWNER_DIED))
    if word & _WAITERS and not is_pi:
        futexes.wake(futexes.key(space, address, private=False), 1)
