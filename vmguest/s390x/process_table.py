"""Which processes there are, by their ids, groups and sessions."""

from collections.abc import Iterator
from errno import EAGAIN
from itertools import count

from dcss.errors import KernelError
from vmguest.s390x.process import DEFAULT_NPROC, RLIMIT_NPROC, Process, Thread

_FIRST_PID = 100  # what boots before a program is started has the ones below
PID_MAX = 32768
_MOST_THREADS = 1024  # all of them are looked at when one waits
_STORAGE_BYTES_OF_A_THREAD = 8 * 16384  # fork_init: kernel stacks may take an eighth of storage


class ProcessTable:
    """All processes of a guest, zombies included, and their threads: as many as its storage is good for."""

    def __init__(self, storage_bytes: int) -> None:
        self._most = min(_MOST_THREADS, storage_bytes // _STORAGE_BYTES_OF_A_THREAD)
        self.processes: dict[int, Process] = {}
        self.threads: dict[int, Thread] = {}
        self._next = count(_FIRST_PID)
        self.forks = 0

    def new_id(self) -> int:
        """Return an id that no process, thread, group or session has."""
        self.forks += 1
        while True:
            number = _FIRST_PID + (next(self._next) - _FIRST_PID) % (PID_MAX - _FIRST_PID)
            if number not in self.processes and number not in self.threads and not self._is_group(number):
                return number

    def check_limits(self, process: Process) -> None:
        """Raise KernelError(EAGAIN) where a process may not make one more process or thread."""
        if max(len(self.threads), len(self.processes)) >= self._most:
            raise KernelError(EAGAIN, f"the guest has {self._most} processes or threads, which is the limit")
        most, _ = process.limits.get(RLIMIT_NPROC, (DEFAULT_NPROC, DEFAULT_NPROC))
        user = process.credentials
        if not user.privileged and most <= sum(
            max(1, len(each.threads)) for each in self.processes.values() if each.credentials.uid == user.uid
        ):
            raise KernelError(EAGAIN, f"user {user.uid} has {most} processes or threads, which is their limit")

    def add(self, process: Process) -> None:
        """Add a process."""
        self.processes[process.pid] = process
        if process.parent is not None:
            process.parent.children.append(process)

    def add_thread(self, thread: Thread) -> None:
        """Add a thread to its process."""
        self.threads[thread.tid] = thread
        thread.process.threads.append(thread)

    def remove_thread(self, thread: Thread) -> None:
        """Remove a thread that has ended."""
        del self.threads[thread.tid]
        thread.process.threads.remove(thread)

    def reap(self, process: Process) -> None:
        """Remove a process that has ended, and that nobody will wait for any more."""
        del self.processes[process.pid]
        if process.parent is not None:
            process.parent.children.remove(process)
            process.parent.children_seconds += process.user_seconds + process.children_seconds

    def group(self, group: int) -> Iterator[Process]:
        """Yield the processes of a group that have not ended."""
        return (each for each in tuple(self.processes.values()) if each.group == group and each.ended is None)

    def _is_group(self, number: int) -> bool:
        return any(number in {each.group, each.session} for each in self.processes.values())
