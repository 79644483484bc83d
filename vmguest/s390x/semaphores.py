"""Semaphores of System V (ipc/sem.c): sets of counters, some of which an operation changes together or not at all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from errno import EFBIG, EINVAL, ENOSPC, ERANGE
from time import time
from typing import ClassVar, Final, NamedTuple

from dcss.errors import KernelError
from vmguest.credentials import Credentials
from vmguest.s390x.ipc_objects import IpcObject, IpcTable
from vmguest.s390x.process import Process

SEM_UNDO: Final = 0x1000
MOST_SETS, MOST_OF_A_SET, MOST_OPERATIONS, MOST_VALUE = 32_000, 32_000, 500, 32_767  # SEMMNI, SEMMSL, SEMOPM, SEMVMX
MOST_SEMAPHORES: Final = 1 << 18  # of all sets (SEMMNS); Linux allows 4000 times as many


class Operation(NamedTuple):
    """One part of an operation (struct sembuf): add to a semaphore, take from it, or wait until it is 0."""

    number: int
    change: int
    flags: int


@dataclass(slots=True, eq=False)
class SemaphoreSet(IpcObject):
    """One set; `pids` are who changed each one last."""

    kind: ClassVar[str] = "semaphores"

    values: list[int]
    pids: list[int]
    operated: int = 0  # seconds since 1970
    waiters: dict[object, Sequence[Operation]] = field(default_factory=dict)  # threads, and what each wants to do
    adjustments: dict[Process, Counter[int]] = field(default_factory=dict)  # when a process ends (semadj)

    def check_index(self, index: int) -> None:
        """Raise KernelError(EINVAL) where it has no such semaphore."""
        if not 0 <= index < len(self.values):
            raise KernelError(EINVAL, f"semaphore {index} of {len(self.values)}")

    def obstacle(self, operations: Sequence[Operation]) -> Operation | None:
        """Return the part that keeps an operation from being done now, None where nothing does."""
        values: dict[int, int] = {}
        for each in operations:
            value = values.get(each.number, self.values[each.number])
            if value + each.change < 0 or (not each.change and value):
                return each
            values[each.number] = value + each.change
        return None

    def operate(self, process: Process, operations: Sequence[Operation]) -> Operation | None:
        """Do an operation whole; return the part that keeps it from being done, and nothing has changed then.

        Raises KernelError: EFBIG no such semaphore, ERANGE.
        """
        if any(each.number >= len(self.values) for each in operations):
            raise KernelError(EFBIG, f"a semaphore beyond the {len(self.values)} of the set")
        if (obstacle := self.obstacle(operations)) is not None:
            return obstacle
        values, undone = list(self.values), Counter(self.adjustments.get(process, {}))
        for each in operations:
            values[each.number] += each.change
            undone[each.number] -= each.change if each.flags & SEM_UNDO else 0
            if values[each.number] > MOST_VALUE or abs(undone[each.number]) > MOST_VALUE:
                raise KernelError(ERANGE, f"semaphore {each.number}: {values[each.number]}, or what is to be undone")
        self.values = values
        for each in operations:
            self.pids[each.number] = process.pid
        if any(each.flags & SEM_UNDO for each in operations):
            self._undo_later(process, undone)
        self.operated = int(time())
        return None

    def set(self, pid: int, values: dict[int, int]) -> None:
        """Set some semaphores: nothing is undone of what was done to them before. Raises KernelError(ERANGE)."""
        if any(not 0 <= value <= MOST_VALUE for value in values.values()):
            raise KernelError(ERANGE, f"semaphores up to {max(values.values())}, wanted 0 to {MOST_VALUE}")
        for index, value in values.items():
            self.values[index], self.pids[index] = value, pid
            for adjustment in self.adjustments.values():
                adjustment.pop(index, None)
        self.changed = int(time())

    def _undo_later(self, process: Process, adjustment: Counter[int]) -> None:
        if process not in self.adjustments:
            process.at_end.append(lambda: self._undo(process))
        self.adjustments[process] = adjustment

    def _undo(self, process: Process) -> None:
        """Undo what a process that has ended asked for (exit_sem)."""
        for index, change in self.adjustments.pop(process, Counter()).items():
            if change:
                self.values[index] = max(0, min(MOST_VALUE, self.values[index] + change))
                self.pids[index] = process.pid
                self.operated = int(time())


class Semaphores(IpcTable[SemaphoreSet]):
    """The sets of a guest."""

    def __init__(self) -> None:
        super().__init__(SemaphoreSet.kind)

    @property
    def semaphores(self) -> int:
        """How many all sets have together."""
        return sum(len(each.values) for each in self)

    def make(self, user: Credentials, key: int, size: int, flags: int) -> int:
        """Return the id of a key's set, or of a new one (semget). Raises KernelError: EINVAL, ENOSPC and as `get`."""
        if not 0 <= size <= MOST_OF_A_SET:
            raise KernelError(EINVAL, f"a set of {size} semaphores")

        def fits(found: SemaphoreSet) -> None:
            if size > len(found.values):
                raise KernelError(EINVAL, f"semaphores of key {key:#x}: are {len(found.values)}")

        def made(number: int) -> SemaphoreSet:
            if not size:
                raise KernelError(EINVAL, "a set of no semaphores")
            if len(self) >= MOST_SETS or self.semaphores + size > MOST_SEMAPHORES:
                raise KernelError(ENOSPC, f"{len(self)} sets of {self.semaphores} semaphores, and {size} more")
            return SemaphoreSet(number, key, flags & 0o777, user, user, [0] * size, [0] * size)

        return self.get(user, key, flags, fits, made)
