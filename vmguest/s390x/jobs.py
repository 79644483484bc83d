"""The processes of a guest, as its terminals see them (drivers/tty/tty_jobctrl.c)."""

from vmguest.s390x.process import Process
from vmguest.s390x.signals import SIG_IGN, bit
from vmguest.s390x.system import System
from vmguest.terminal import Terminal
from vmguest.tty.jobs import Caller, JobControl


class GuestJobs:
    """See vmguest.tty.jobs.Jobs."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._terminals: dict[JobControl, Terminal] = {}

    def give(self, process: Process, terminal: Terminal) -> None:
        """Have a terminal control the session that a new process leads."""
        self.add(terminal)
        terminal.job.take(process.session, process.group)
        process.terminal = terminal

    def add(self, terminal: Terminal) -> None:
        """Have a terminal know the processes, so that it can control a session."""
        terminal.job.jobs = self
        self._terminals[terminal.job] = terminal

    def remove(self, terminal: Terminal) -> None:
        """Forget a terminal that is no more."""
        self._terminals.pop(terminal.job, None)

    def caller(self) -> Caller | None:
        """Return the process that makes a system call."""
        thread = self._system.scheduler.current
        if thread is None:
            return None
        process = thread.process

        def ignores(number: int) -> bool:
            return process.action(number).handler == SIG_IGN or bool(thread.blocked & bit(number))

        leads = process.session == process.pid
        return Caller(process.group, process.session, leads, process.terminal is not None, ignores)

    def session_of(self, group_id: int) -> int | None:
        """Return the session of a group, None where there is no such group."""
        return next((each.session for each in self._system.table.group(group_id)), None)

    def is_orphaned(self, group_id: int) -> bool:
        """Return whether nobody of the session outside the group would continue it."""
        return not any(_is_watched(each) for each in self._system.table.group(group_id))

    def control(self, job: JobControl | None) -> None:
        """Note which terminal controls the caller's session."""
        thread = self._system.scheduler.current
        if thread is not None:
            session = thread.process.session
            for process in self._system.table.processes.values():
                if process.session == session:
                    process.terminal = None if job is None else self._terminals.get(job)

    def released(self, job: JobControl) -> None:
        """Note that a terminal controls nobody any more."""
        for process in self._system.table.processes.values():
            if process.terminal is not None and process.terminal.job is job:
                process.terminal = None


def _is_watched(process: Process) -> bool:
    parent = process.parent
    return parent is not None and parent.group != process.group and parent.session == process.session
