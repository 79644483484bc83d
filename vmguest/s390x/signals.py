"""Signals: numbers, default actions, and what is pending (kernel/signal.c)."""

import struct
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

(
    SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE,
    SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ,
    SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS,
) = range(1, 32)  # fmt: skip
SIGRTMIN, SIGRTMAX = 32, 64

NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
    "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)  # fmt: skip

SIG_DFL, SIG_IGN = 0, 1
SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO, SA_RESTORER = 0x1, 0x2, 0x4, 0x04000000
SA_ONSTACK, SA_RESTART, SA_NODEFER, SA_RESETHAND = 0x08000000, 0x10000000, 0x40000000, 0x80000000
SS_ONSTACK, SS_DISABLE = 1, 2

SI_USER, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_TKILL = 0, 0x80, -1, -2, -6
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = 1, 2, 3, 4, 5, 6

STOPS = frozenset({SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU})
_IGNORED = frozenset({SIGCHLD, SIGCONT, SIGURG, SIGWINCH})
FAULTS = frozenset({SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS})
_UNBLOCKABLE = 1 << SIGKILL - 1 | 1 << SIGSTOP - 1
_MASK = (1 << 64) - 1
_MOST_PENDING = 1024  # RLIMIT_SIGPENDING


class Default(Enum):
    """What happens by default."""

    END = "end"
    IGNORE = "ignore"
    STOP = "stop"


def default_of(number: int) -> Default:
    """Return a signal's default action."""
    if number in _IGNORED:
        return Default.IGNORE
    return Default.STOP if number in STOPS else Default.END


def name_of(number: int) -> str:
    """Return a signal's name, such as SIGINT."""
    if 1 <= number <= len(NAMES):
        return f"SIG{NAMES[number - 1]}"
    return f"SIGRT_{number - SIGRTMIN}"


def bit(number: int) -> int:
    """Return a signal's bit in a set of signals."""
    return 1 << number - 1


def blockable(mask: int) -> int:
    """Return a set of signals without those that cannot be blocked."""
    return mask & ~_UNBLOCKABLE & _MASK


class Action(NamedTuple):
    """What a program does at a signal (struct sigaction of the kernel)."""

    handler: int = SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0

    @classmethod
    def unpack(cls, packed: bytes) -> "Action":
        """Read the 32 bytes of the kernel's structure."""
        return cls._make(_ACTION.unpack(packed))

    def pack(self) -> bytes:
        """Return the structure."""
        return _ACTION.pack(*self)


_ACTION = struct.Struct(">4Q")
DEFAULT_ACTION = Action()


class SignalInfo(NamedTuple):
    """What siginfo_t says of a signal; `fields` is its union as the signal and the code have it."""

    number: int
    code: int
    fields: bytes = b""

    def pack(self) -> bytes:
        """Return siginfo_t, 128 bytes."""
        return (struct.pack(">iiii", self.number, 0, self.code, 0) + self.fields).ljust(128, b"\0")

    @classmethod
    def sent(cls, number: int, pid: int, uid: int, code: int = SI_USER) -> "SignalInfo":
        """Return that of kill(2) or tgkill(2)."""
        return cls(number, code, struct.pack(">iI", pid, uid))

    @classmethod
    def fault(cls, number: int, code: int, address: int) -> "SignalInfo":
        """Return that of a fault at an address."""
        return cls(number, code, struct.pack(">Q", address))

    @classmethod
    def child(cls, code: int, pid: int, uid: int, status: int) -> "SignalInfo":
        """Return that of SIGCHLD."""
        return cls(SIGCHLD, code, struct.pack(">iIi", pid, uid, status))


class Pending:
    """Signals that were not delivered: one of each below SIGRTMIN, of the others all that were sent, to a limit."""

    __slots__ = ("_queue", "mask")

    def __init__(self) -> None:
        self.mask = 0
        self._queue: list[SignalInfo] = []

    def add(self, info: SignalInfo) -> bool:
        """Add a signal; return False where there are too many to add one more."""
        if self.mask & bit(info.number) and (info.number < SIGRTMIN or len(self._queue) >= _MOST_PENDING):
            return info.number < SIGRTMIN
        self._queue.append(info)
        self.mask |= bit(info.number)
        return True

    def take(self, wanted: int) -> SignalInfo | None:
        """Take the first of a set, faults before others and lower numbers first (next_signal); None without any."""
        if not self.mask & wanted:
            return None
        candidates = [info for info in self._queue if bit(info.number) & wanted]
        first = min(candidates, key=lambda info: (info.number not in FAULTS, info.number))
        self._queue.remove(first)
        self._recount()
        return first

    def remove(self, numbers: int) -> None:
        """Forget the signals of a set."""
        if self.mask & numbers:
            self._queue = [info for info in self._queue if not bit(info.number) & numbers]
            self._recount()

    def _recount(self) -> None:
        self.mask = 0
        for info in self._queue:
            self.mask |= bit(info.number)

    def __iter__(self) -> Iterator[SignalInfo]:
        return iter(self._queue)
