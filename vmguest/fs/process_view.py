"""A process as files of the kernel show it: /proc has a directory of each, and /dev/tty is its terminal."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from vmguest.credentials import Credentials
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.mount import Dentry
from vmguest.identity import Identity
from vmguest.terminal import Terminal

RLIM_INFINITY = (1 << 64) - 1


class SignalMasks(NamedTuple):
    """Sets of signals, bit 0 for signal 1."""

    pending: int = 0
    blocked: int = 0
    ignored: int = 0
    caught: int = 0


class ProcessView(Protocol):
    """A process. What a zombie has given back already is None or empty."""

    @property
    def pid(self) -> int:
        """Process id."""
        ...

    @property
    def parent_pid(self) -> int:
        """Process id of its parent, 0 for none."""
        ...

    @property
    def group_id(self) -> int:
        """Process group."""
        ...

    @property
    def session_id(self) -> int:
        """Session."""
        ...

    @property
    def state(self) -> str:
        """R runs, S waits, T is stopped, Z is a zombie."""
        ...

    @property
    def credentials(self) -> Credentials:
        """User and groups."""
        ...

    @property
    def identity(self) -> Identity:
        """Its real, effective and saved ids, and its capabilities."""
        ...

    @property
    def name(self) -> bytes:
        """What ps shows (comm)."""
        ...

    @property
    def words(self) -> tuple[bytes, ...]:
        """What it was started with."""
        ...

    @property
    def environment(self) -> tuple[bytes, ...]:
        """Its environment when it was started, each as NAME=VALUE."""
        ...

    @property
    def auxiliary_vector(self) -> bytes:
        """What its start was told (auxv)."""
        ...

    @property
    def executable(self) -> Dentry | None:
        """The program."""
        ...

    @property
    def directory(self) -> Dentry | None:
        """Working directory."""
        ...

    @property
    def root(self) -> Dentry | None:
        """Where its absolute paths begin, None for the guest's root."""
        ...

    @property
    def files(self) -> Descriptors:
        """Open files."""
        ...

    @property
    def terminal(self) -> Terminal | None:
        """The terminal that controls it."""
        ...

    @property
    def threads(self) -> tuple[int, ...]:
        """Ids of its threads, its own first."""
        ...

    @property
    def signals(self) -> SignalMasks:
        """Its signals."""
        ...

    @property
    def limits(self) -> Mapping[int, tuple[int, int]]:
        """Soft and hard limits by resource number (RLIMIT_…), as far as they are not the default's."""
        ...

    @property
    def nice(self) -> int:
        """Niceness."""
        ...

    @property
    def virtual_bytes(self) -> int:
        """Size of its address space."""
        ...

    @property
    def resident_bytes(self) -> int:
        """How much of that is present."""
        ...

    @property
    def user_seconds(self) -> float:
        """Time that its instructions took."""
        ...

    @property
    def system_seconds(self) -> float:
        """Time that its system calls took."""
        ...

    @property
    def start_seconds(self) -> float:
        """When it was started, from the guest's own start."""
        ...

    def read_memory(self, address: int, size_bytes: int) -> bytes:
        """Return bytes of its memory. Raises KernelError(EFAULT) where there is none."""
        ...

    def maps(self) -> Iterator[bytes]:
        """Yield the lines of /proc/PID/maps, without their newlines."""
        ...
