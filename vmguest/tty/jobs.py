"""Job control: which processes a terminal is for, and what becomes of the others (drivers/tty/tty_jobctrl.c)."""

from collections.abc import Callable
from errno import EAGAIN, EINVAL, EIO, ENOTTY, EPERM, ESRCH
from typing import NamedTuple, Protocol

from dcss.errors import KernelError

SIGHUP, SIGCONT, SIGTTIN, SIGTTOU, SIGWINCH = 1, 18, 21, 22, 28


class Caller(NamedTuple):
    """The process that makes a system call. `ignores(signal)` says whether it ignores or blocks that."""

    group_id: int
    session_id: int
    leads_session: bool
    has_terminal: bool
    ignores: Callable[[int], bool]


class Jobs(Protocol):
    """The processes of a guest, as its terminals need them."""

    def caller(self) -> Caller | None:
        """Return who makes a system call, None where it is nobody that a terminal could control."""
        ...

    def session_of(self, group_id: int) -> int | None:
        """Return the session that a group of processes is in, None where there is no such group."""
        ...

    def is_orphaned(self, group_id: int) -> bool:
        """Return whether nobody of the session outside the group would continue it, so that it must not be stopped."""
        ...

    def control(self, job: "JobControl | None") -> None:
        """Note which terminal controls the caller's session now; None for none."""
        ...

    def released(self, job: "JobControl") -> None:
        """Note that a terminal controls nobody any more."""
        ...


class JobControl:
    """The session that a terminal controls, 0 for none, and the group of processes in its foreground."""

    def __init__(self, signal_group: Callable[[int, int], None]) -> None:
        self.session_id = 0
        self.foreground_id = 0
        self.jobs: Jobs | None = None
        self._signal_group = signal_group

    def signal_foreground(self, number: int) -> None:
        """Send a signal to the group in the foreground, if any."""
        if self.foreground_id:
            self._signal_group(self.foreground_id, number)

    def signal_leader(self, number: int) -> None:
        """Send a signal to the group of the session's leader, if any."""
        if self.session_id:
            self._signal_group(self.session_id, number)

    def take(self, session_id: int, foreground_id: int) -> None:
        """Control a session from now on."""
        self.session_id, self.foreground_id = session_id, foreground_id

    def release(self) -> None:
        """Control nobody from now on."""
        self.session_id = self.foreground_id = 0
        if self.jobs is not None:
            self.jobs.released(self)

    def leader_ended(self) -> None:
        """Hang the foreground up, and control nobody: the session's leader has ended, or gave the terminal up."""
        self.signal_foreground(SIGHUP)
        self.signal_foreground(SIGCONT)
        self.release()

    def check_change(self, number: int) -> None:
        """Stop the caller's group by a signal where it is in the background (tty_check_change).

        Raises KernelError: EAGAIN it is stopped, and tries again afterwards, EIO it cannot be stopped.
        """
        caller = self._caller()
        if caller is None or not self.foreground_id or caller.group_id == self.foreground_id:
            return
        if caller.ignores(number):
            if number == SIGTTIN:
                raise KernelError(EIO, f"group {caller.group_id} is in the background and ignores SIGTTIN")
            return
        assert self.jobs is not None
        if self.jobs.is_orphaned(caller.group_id):
            raise KernelError(EIO, f"group {caller.group_id} is in the background, and nobody would continue it")
        self._signal_group(caller.group_id, number)
        raise KernelError(EAGAIN, f"group {caller.group_id} is in the background")

    def foreground(self) -> int:
        """Return the group in the foreground (TIOCGPGRP). Raises KernelError(ENOTTY) for others than the session."""
        self._check_controls()
        return self.foreground_id

    def session(self) -> int:
        """Return the session (TIOCGSID). Raises KernelError(ENOTTY) for others than the session."""
        self._check_controls()
        if not self.session_id:
            raise KernelError(ENOTTY, "the terminal controls no session")
        return self.session_id

    def set_foreground(self, group_id: int) -> None:
        """Put a group of the session into the foreground (TIOCSPGRP).

        Raises KernelError: ENOTTY, EINVAL, ESRCH no such group, EPERM one of another session.
        """
        self.check_change(SIGTTOU)
        self._check_controls()
        if group_id < 0:
            raise KernelError(EINVAL, f"group {group_id}: wanted no negative number")
        if self.jobs is not None:
            session_id = self.jobs.session_of(group_id)
            if session_id is None:
                raise KernelError(ESRCH, f"group {group_id}: there is none")
            if session_id != self.session_id:
                raise KernelError(EPERM, f"group {group_id}: is in session {session_id}")
        self.foreground_id = group_id

    def opened(self) -> None:
        """Control the caller's session if that has no terminal: an open without O_NOCTTY (tty_open)."""
        caller = None if self.jobs is None else self.jobs.caller()
        if caller is not None and caller.leads_session and not caller.has_terminal and not self.session_id:
            self.take_caller()

    def take_caller(self) -> None:
        """Control the caller's session (TIOCSCTTY). Raises KernelError(EPERM): no leader, has one, or taken."""
        caller = None if self.jobs is None else self.jobs.caller()
        if caller is None or not caller.leads_session:
            raise KernelError(EPERM, "only the leader of a session takes a terminal")
        if self.session_id == caller.session_id:
            return
        if caller.has_terminal:
            raise KernelError(EPERM, f"session {caller.session_id} has a terminal")
        if self.session_id:
            raise KernelError(EPERM, f"the terminal controls session {self.session_id}")
        self.take(caller.session_id, caller.group_id)
        assert self.jobs is not None
        self.jobs.control(self)

    def leave(self) -> None:
        """Have the caller give the terminal up (TIOCNOTTY). Raises KernelError(ENOTTY) where it has another."""
        caller = self._caller()
        if caller is None:
            raise KernelError(ENOTTY, "the terminal does not control the caller")
        if caller.leads_session:
            self.leader_ended()
        assert self.jobs is not None
        self.jobs.control(None)

    def _caller(self) -> Caller | None:
        """Return the caller, if the terminal controls it."""
        caller = None if self.jobs is None else self.jobs.caller()
        return caller if caller is not None and caller.session_id == self.session_id else None

    def _check_controls(self) -> None:
        if self.jobs is not None and self.jobs.caller() is not None and self._caller() is None:
            raise KernelError(ENOTTY, "the terminal does not control the caller")
