"""Threads that wait for a word of memory to change (kernel/futex)."""

import struct
from collections.abc import Hashable
from errno import EAGAIN, ETIMEDOUT
from time import monotonic

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.space import UserSpace

_WORD = struct.Struct(">I")
ANY = 0xFFFF_FFFF


class Futexes:
    """Who waits where: a private word belongs to an address space, a shared one to its file."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, list[tuple[Thread, int]]] = {}

    def key(self, space: UserSpace, address: int, *, private: bool) -> Hashable:
        """Return what stands for a word. Raises FaultError where a word that may be shared is in no memory.

        A shared word is known by its file: the page that it lies in may be another one once it was stored into.
        """
        if private:
            return space, address
        space.absolute(address)
        page, offset = divmod(address, PAGE_SIZE)
        area = space.areas.find(page)
        if area is None or not area.shared or area.file is None:
            return space, address
        return area.file.mappings, area.file_page + page - area.first_page, offset

    def wait(
        self, thread: Thread, address: int, value: int, deadline: float | None, *, private: bool, bits: int = ANY
    ) -> int:
        """Wait until somebody wakes the thread. Raises WaitError; EAGAIN for another value, ETIMEDOUT."""
        space = thread.process.space
        if thread.woken:
            thread.woken = False
            return 0
        if deadline is not None and monotonic() >= deadline:
            self.forget(thread)
            raise KernelError(ETIMEDOUT, f"futex at {address:#x}: nobody has woken the thread in time")
        if not thread.in_call:
            key = self.key(space, address, private=private)
            (found,) = _WORD.unpack(space.read(address, _WORD.size))
            if found != value & ANY:
                raise KernelError(EAGAIN, f"futex at {address:#x} is {found}, not {value}")
            self._queues.setdefault(key, []).append((thread, bits))
        raise WaitError(lambda: thread.woken, deadline)

    def wake(self, key: Hashable, count: int, bits: int = ANY) -> int:
        """Wake up to so many threads; return how many."""
        queue = self._queues.get(key, [])
        woken = [entry for entry in queue if entry[1] & bits][:count]
        for entry in woken:
            queue.remove(entry)
            entry[0].woken = True
        if not queue:
            self._queues.pop(key, None)
        return len(woken)

    def requeue(self, key: Hashable, other: Hashable, count: int) -> int:
        """Have up to so many threads wait for another word; return how many."""
        queue = self._queues.get(key, [])
        moved, rest = queue[:count], queue[count:]
        if moved and key != other:
            self._queues.setdefault(other, []).extend(moved)
            self._queues[key] = rest
            if not rest:
                del self._queues[key]
        return len(moved)

    def forget(self, thread: Thread) -> None:
        """Have a thread wait no more: it ended, was interrupted, or its time is over."""
        for key, queue in tuple(self._queues.items()):
            queue[:] = [entry for entry in queue if entry[0] is not thread]
            if not queue:
                del self._queues[key]
