"""Which processes there are, by their ids, groups and sessions."""

from collections.abc import Iterator
from itertools import count

from vmguest.s390x.process import Process, Thread

_FIRST_PID = 100  # what boots before a program is started has the ones below
PID_MAX = 32768


class ProcessTable:
    """All processes of a guest, zombies included, and their threads."""

    def __init__(self) -> None:
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
