"""Processes and their threads (struct signal_struct and struct task_struct), as far as system calls see them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vmguest.credentials import ROOT, Credentials
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.mount import Dentry
from vmguest.fs.open import FileDescription
from vmguest.identity import ROOT as ROOT_IDENTITY
from vmguest.identity import Identity
from vmguest.s390x.signal_frame import AlternateStack
from vmguest.s390x.signals import DEFAULT_ACTION, SIGKILL, Action, Pending, SignalInfo, bit
from vmguest.s390x.space import UserSpace

if TYPE_CHECKING:
    from unicorn.unicorn_py3.unicorn import UcContext

    from vmguest.terminal import Terminal

_COMM_BYTES = 15
RLIMIT_FSIZE = 1
RLIMIT_NPROC, DEFAULT_NPROC = 6, 1024


class Waiting(NamedTuple):
    """What a system call waits for: it is tried again when `ready()` is true or `deadline` (monotonic) has come.

    `alarm()` tells in how many seconds time alone may make it ready, None if never: others may change that meanwhile.
    `restart` says whether it goes on after a signal handler with SA_RESTART.
    """

    ready: Callable[[], bool]
    deadline: float | None = None
    restart: bool = True
    alarm: Callable[[], float | None] | None = None

    def due(self, now: float) -> float | None:
        """Return when to ask again at the latest, though nothing else happens."""
        seconds = None if self.alarm is None else self.alarm()
        dues = (self.deadline, None if seconds is None else now + seconds)
        return min((due for due in dues if due is not None), default=None)


RESET_ON_FORK = 0x4000_0000  # of a policy as system calls have it


class Scheduling(NamedTuple):
    """What a thread's turns are said to go by (SCHED_OTHER and so on); they do not."""

    policy: int = 0
    priority: int = 0
    resets: bool = False  # its children have the usual policy

    @property
    def told_policy(self) -> int:
        """The policy as sched_getscheduler(2) tells it."""
        return self.policy | (RESET_ON_FORK if self.resets else 0)


class WaitError(Exception):
    """A system call cannot go on now."""

    def __init__(
        self,
        ready: Callable[[], bool],
        deadline: float | None = None,
        *,
        restart: bool = True,
        alarm: Callable[[], float | None] | None = None,
    ) -> None:
        super().__init__("would wait")
        self.waiting = Waiting(ready, deadline, restart, alarm)


@dataclass(slots=True, eq=False)
class ExitStatus:
    """How a process ended: its exit code, or the signal that killed it."""

    code: int = 0
    signal: int = 0

    @property
    def packed(self) -> int:
        """What wait4(2) stores."""
        return self.code << 8 | self.signal

    @property
    def shell_status(self) -> int:
        """What a shell makes of it."""
        return 128 + self.signal if self.signal else self.code


class ProcessDebugger(Protocol):
    """What a process tells whoever debugs it."""

    def steps(self, thread: "Thread") -> bool:
        """Return whether a thread is to run one instruction only."""
        ...

    def is_breakpoint(self, address: int) -> bool:
        """Return whether it is to stop before an instruction."""
        ...

    def stop(self, thread: "Thread", number: int) -> None:
        """Have it stand still: a thread came to a breakpoint, or a signal is about to be delivered to it."""
        ...

    def stops_for(self, thread: "Thread", number: int) -> bool:
        """Have it stand still, and return True, unless the signal is one that a thread goes on with."""
        ...

    def paused(self, thread: "Thread") -> None:
        """Stop it if that was asked for: the thread is between two instructions."""
        ...

    def forked(self, child: "Process") -> None:
        """Take breakpoints out of a child, which has a copy of its memory."""
        ...

    def program_changed(self) -> None:
        """Note that it runs another program."""
        ...

    def ended(self) -> None:
        """Note that it has ended."""
        ...


class Directory:
    """The working directory of a process, and its root where that is another one (struct fs_struct)."""

    def __init__(self, place: Dentry, root: Dentry | None = None) -> None:
        self.place = place.hold()
        self.root = None if root is None else root.hold()

    def change(self, place: Dentry) -> None:
        """Change the working directory."""
        place.hold()
        self.place.release()
        self.place = place

    def change_root(self, root: Dentry | None) -> None:
        """Change the root; None is that of the guest."""
        if root is not None:
            root.hold()
        if self.root is not None:
            self.root.release()
        self.root = root

    def fork(self) -> "Directory":
        """Return a child's."""
        return Directory(self.place, self.root)

    def close(self) -> None:
        """Leave it."""
        self.place.release()
        self.change_root(None)


@dataclass(slots=True, eq=False)
class Process:
    """A process: its threads share all of this. `group` and `session` are process ids."""

    pid: int
    parent: "Process | None"
    space: UserSpace
    files: Descriptors
    directory: Directory
    executable: Dentry | None
    words: tuple[bytes, ...] = ()
    environment: tuple[bytes, ...] = ()
    auxiliary_vector: bytes = b""
    group: int = 0
    session: int = 0
    terminal: "Terminal | None" = None  # which controls its session
    identity: Identity = ROOT_IDENTITY  # as whom it is known
    credentials: Credentials = ROOT  # as what files see it, which follows from that
    actions: dict[int, Action] = field(default_factory=dict)
    pending: Pending = field(default_factory=Pending)
    threads: "list[Thread]" = field(default_factory=list)
    children: "list[Process]" = field(default_factory=list)
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)  # struct rlimit of what differs from the default
    ended: ExitStatus | None = None  # it is a zombie until its parent has waited for it
    stopped_by: int = 0  # the signal, while it is stopped
    change: int = 0  # CLD_STOPPED or CLD_CONTINUED: what its parent was not told yet
    name: bytes = b""
    nice: int = 0
    started: float = field(default_factory=time.monotonic)
    user_seconds: float = 0.0
    children_seconds: float = 0.0
    trace: Callable[[bytes], None] | None = None
    timers: dict[int, Any] = field(default_factory=dict)  # of timer_create by number; interval timers below 0
    debugger: ProcessDebugger | None = None
    at_end: list[Callable[[], None]] = field(default_factory=list)  # what is called when it ends
    death_signal: int = 0  # what it gets when its parent ends
    dumpable: bool = True
    exec_done: bool = False  # it has begun another program, or ended: whoever made it by vfork(2) goes on

    @property
    def exit_status(self) -> int | None:
        """What a shell would say: the exit code, or 128 and the signal; None while it runs."""
        return None if self.ended is None else self.ended.shell_status

    @property
    def ended_by(self) -> int | None:
        """The signal that ended it, or None."""
        return None if self.ended is None or not self.ended.signal else self.ended.signal

    def take_identity(self, identity: Identity) -> None:
        """Be somebody else from now on."""
        self.identity = identity
        uid, powerful = identity.users.effective, identity.is_powerful
        differs = powerful if powerful != (uid == 0) else None
        self.credentials = self.credentials._replace(uid=uid, gid=identity.groups.effective, powerful=differs)

    def action(self, number: int) -> Action:
        """Return what it does at a signal."""
        return self.actions.get(number, DEFAULT_ACTION)

    def family(self) -> "Iterator[Process]":
        """Yield it and everything that it started and that has it as an ancestor."""
        yield self
        for child in tuple(self.children):
            yield from child.family()

    def set_name(self, name: bytes) -> None:
        """Set what ps shows (comm)."""
        self.name = name[:_COMM_BYTES]


@dataclass(slots=True, eq=False)
class Thread:
    """One thread; the first one of a process has its id. `context` is its state while it is not loaded."""

    tid: int
    process: Process
    context: "UcContext"
    blocked: int = 0
    pending: Pending = field(default_factory=Pending)
    stack: AlternateStack = field(default_factory=AlternateStack)
    waiting: Waiting | None = None
    in_call: bool = False  # the instruction is a system call that waits
    call_number: int = 0  # of that one: a debugger may have put a breakpoint in its place
    deadline: float | None = None  # of the call that waits, kept while it is tried again
    woken: bool = False  # by FUTEX_WAKE
    written_bytes: int = 0  # by a write that waits
    vfork_child: Process | None = None  # for which it waits
    opening: FileDescription | None = None  # a FIFO whose open waits for its other end
    withdraw: Callable[[], None] | None = None  # what a call that waits has to undo when it is over
    restored_mask: int | None = None  # the blocked signals to go back to, after a call that set others
    clear_tid: int = 0  # a user address that becomes 0 when it ends
    robust_list: tuple[int, int] = (0, 0)
    name: bytes = b""
    scheduling: Scheduling = field(default_factory=Scheduling)
    io_priority: int = 0  # class and level; 0 where it has none of its own
    ended: bool = False
    held: bool = False  # a debugger has it stand still

    @property
    def deliverable(self) -> int:
        """The signals that are pending for it and not blocked; while it waits for a child of vfork, SIGKILL only."""
        found = (self.pending.mask | self.process.pending.mask) & ~self.blocked
        return found if self.vfork_child is None else found & bit(SIGKILL)

    def leave_call(self) -> None:
        """Forget what a call that waits has done so far: it is not gone on with."""
        self.waiting, self.in_call, self.deadline = None, False, None
        self.woken, self.written_bytes, self.vfork_child = False, 0, None
        if self.opening is not None:
            self.opening.close()
            self.opening = None
        if self.withdraw is not None:
            self.withdraw()
            self.withdraw = None

    def take_signal(self) -> SignalInfo | None:
        """Take the next signal to deliver: its own before the process's."""
        wanted = self.deliverable
        return self.pending.take(wanted) or self.process.pending.take(wanted)
