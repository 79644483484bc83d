"""CP's end of the statistics area: creates it in shared memory, writes its slots, and unlinks it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from errno import EEXIST
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple, Self

import posix_ipc

from dcss.abi import statistics as abi
from dcss.host.shared_memory import create_block
from dcss.host.shm import MAX_SAME_NAME, SHM_DIRECTORY, STATISTICS, ObjectName
from dcss.host.signals import interrupts_held


class SlotWriter:
    """Writes one slot in such a way that readers can tell a whole copy from a torn one."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def write(self, packed: bytes, first_word: int = 2) -> None:
        """Replace the words from `first_word` on by those of `packed`."""
        words = self._words
        new = memoryview(packed).cast("Q")
        old = words[first_word : first_word + len(new)]
        if old == new:
            return
        sequence, check = words[0], words[1]
        check += sum(new) - sum(old) + 2
        words[0] = sequence + 1
        old[:] = new
        words[1] = check & abi.WORD_MASK
        words[0] = sequence + 2

    def add(self, word: int, count: int = 1) -> None:
        """Add to a word that counts."""
        words = self._words
        sequence = words[0]
        words[0] = sequence + 1
        words[word] += count
        words[1] = (words[1] + count + 2) & abi.WORD_MASK
        words[0] = sequence + 2

    def release(self) -> None:
        """Give up the memory."""
        self._words.release()


class StatisticsTables(NamedTuple):
    """The slots of an area."""

    system: SlotWriter
    guests: tuple[SlotWriter, ...]
    segments: tuple[SlotWriter, ...]
    claims: tuple[SlotWriter, ...]

    @classmethod
    def over(cls, memory: memoryview, head: abi.AreaHead) -> Self:
        """Return the slots in writable memory that has the size of the head's area."""
        return cls(
            SlotWriter(next(_slots(memory, head.system_offset, head.system_slot_bytes, head.system_slots))),
            tuple(map(SlotWriter, _slots(memory, head.guests_offset, head.guest_slot_bytes, head.guest_slots))),
            tuple(map(SlotWriter, _slots(memory, head.segments_offset, head.segment_slot_bytes, head.segment_slots))),
            tuple(map(SlotWriter, _slots(memory, head.claims_offset, head.claim_slot_bytes, head.claim_slots))),
        )

    def release(self) -> None:
        """Give up the memory."""
        for slot in (self.system, *self.guests, *self.segments, *self.claims):
            slot.release()


def _slots(memory: memoryview, offset_bytes: int, slot_bytes: int, slots: int) -> Iterator[memoryview]:
    for start in range(offset_bytes, offset_bytes + slot_bytes * slots, slot_bytes):
        yield memory[start : start + slot_bytes].cast("Q")


class StatisticsArea:
    """The statistics area of `system`, for so many guests, from construction to `close`; used by CP's loop alone.

    Where it cannot be had in shared memory, `problem` says why, and what is written is read by nobody, as after
    `close`. It is in nobody's way: `announce` is called when readers may rely on it.
    """

    def __init__(self, system: str, guests: int) -> None:
        self._head = abi.area_head(os.getpid(), guests)
        self.name, self.problem = "", ""
        self._block: SharedMemory | None = None
        self._keeper_fd = -1
        try:
            self.tables = StatisticsTables.over(self._create(system), self._head)
        except OSError as error:
            self.problem = f"no statistics area: {self._head.size_bytes} bytes in /dev/shm: {error.strerror or error}"
            self.tables = self._unread_tables()

    def _create(self, system: str) -> memoryview:
        """Create it under the first free name, with a descriptor whose lock tells sweepers that a CP lives."""
        for number in range(MAX_SAME_NAME):
            name = ObjectName(system, STATISTICS, number)
            with interrupts_held():
                try:
                    block = create_block(str(name).removeprefix("/"), self._head.size_bytes)
                except FileExistsError:
                    continue
                self.name, self._block = str(name), block
            try:
                self._keeper_fd = os.open(SHM_DIRECTORY / str(name).removeprefix("/"), os.O_RDWR | os.O_CLOEXEC)
                fcntl.flock(self._keeper_fd, fcntl.LOCK_EX)
                if os.fstat(self._keeper_fd).st_nlink:
                    os.posix_fallocate(self._keeper_fd, 0, self._head.size_bytes)  # a full tmpfs shows here
                    return _memory_of(block)
            except FileNotFoundError:  # as below
                pass
            except OSError:
                self._remove()
                raise
            self._remove()  # a sweep took it for a leftover before it was locked
        raise FileExistsError(EEXIST, f"no free name among {MAX_SAME_NAME} from {ObjectName(system, STATISTICS, 0)}")

    def announce(self) -> None:
        """Let readers know that the area is there."""
        if self._block is not None:
            memory = _memory_of(self._block)
            memory[: abi.HEAD.size] = abi.HEAD.pack(*self._head._replace(magic=bytes(len(abi.MAGIC))))
            memory[: len(abi.MAGIC)] = abi.MAGIC

    def close(self) -> None:
        """Unlink it. What is written from now on is read by nobody. May be called twice."""
        tables, self.tables = self.tables, self._unread_tables()
        tables.release()
        self._remove()

    def _remove(self) -> None:
        with interrupts_held():
            name, self.name = self.name, ""
            if name:
                with contextlib.suppress(posix_ipc.ExistentialError):  # someone removed it by hand
                    posix_ipc.unlink_shared_memory(name)
            block, self._block = self._block, None
            if block is not None:
                block.close()
            if self._keeper_fd >= 0:
                os.close(self._keeper_fd)
                self._keeper_fd = -1

    def _unread_tables(self) -> StatisticsTables:
        return StatisticsTables.over(memoryview(bytearray(self._head.size_bytes)), self._head)


def _memory_of(block: SharedMemory) -> memoryview:
    memory = block.buf
    assert memory is not None, "it is open"
    return memory
