"""What a guest runs on: the interface that the supervisor, accounts and proofs know every engine by.

An engine makes instances; an instance is one run of one guest, from its start until its processes have ended. All
methods are called in CP's event loop, except `Instance.read_storage`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, NoReturn, Protocol

from dcss.abi.console import Counters, FileAccess, Start, Verdict
from dcss.abi.hypercall import Reply, Request
from dcss.abi.programs import ProgramEvent, TerminalSize
from dcss.abi.timings import Span
from dcss.account.targets import AddressRange, Origin
from dcss.config.plan import GuestPlan
from dcss.config.problems import ConfigProblem
from dcss.errors import LaunchError
from dcss.host.mark import Mark

# CP's answer to one DIAGNOSE instruction of the guest. The descriptor of a reply stays CP's own.
Port = Callable[[Request], Awaitable[Reply]]
# Waits for the next thing that a client says while its program runs: standard input, a window's size, a signal.
# Raises ConfigError where it is none of these.
EventSource = Callable[[], Awaitable[ProgramEvent]]
# Takes what a command writes: True is its standard error. The command waits until it has been taken.
OutputSink = Callable[[bool, bytes], Awaitable[None]]


class End(NamedTuple):
    """How an instance ended: an exit status, or minus a signal's number.

    `reason` is why its engine ended it; empty if it ended by itself or by `Instance.kill`.
    """

    status: int
    reason: str = ""


class ExecOptions(NamedTuple):
    """What a program is given beside its words; `terminal` is the size of one that its three streams are.

    Without `has_input` its standard input is /dev/null. `input_taken` is called with how many bytes of it were read.
    With `debugger`, which takes what is for gdb, the program waits for gdb, which speaks by `events`.
    """

    environment: tuple[str, ...] = ()
    directory: str = "/"
    terminal: TerminalSize | None = None
    strace: bool = False
    has_input: bool = False
    events: EventSource | None = None
    input_taken: Callable[[int], Awaitable[None]] | None = None
    debugger: Callable[[bytes], Awaitable[None]] | None = None


class Accelerator(NamedTuple):
    """How a virtual machine's instructions are executed: by the host's CPU (kvm), or translated (tcg).

    `downgraded_because` says why it is not the faster one of the two; empty where there is no other.
    """

    name: Literal["kvm", "tcg"]
    downgraded_because: str = ""


class MemoryLayout(NamedTuple):
    """Which host addresses of an instance's processes are what.

    Absolute address A of the guest lies at `window.start` + A: real storage at the bottom, loaded segments above. Files
    are mapped at user level in `user_area`. `origins` are the ranges whose copies the guest's kernel did not make,
    `disks` the files of this machine, by device and inode, that the guest has as disks and may map in both. With
    `in_place`, programs use files where segments lie in the window, too: what is present there is used. A kernel that
    is `buffering` has the blocks of a file system itself in buffers of its own, as Linux does.
    """

    window: AddressRange
    user_area: AddressRange
    origins: tuple[tuple[AddressRange, Origin], ...] = ()
    disks: frozenset[tuple[int, int]] = frozenset()
    in_place: bool = False
    buffering: bool = False


class GuestRefusedError(LaunchError):
    """One guest could not be started. Others can be."""


class Instance(Protocol):
    """One run of a guest. It serves the guest's hypercalls from the end of `Engine.spawn` on."""

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that the engine made for it; empty once they have ended."""
        ...

    @property
    def no_counters_reason(self) -> str | None:
        """Why the guest counts nothing; None where `counters` can be asked."""
        ...

    @property
    def accelerator(self) -> Accelerator | None:
        """How its instructions are executed where it is a virtual machine; None for any other guest."""
        ...

    @property
    def access(self) -> tuple[FileAccess, ...]:
        """How files of the mounts of its plan are reached, by the guest's own word; empty where it says nothing."""
        ...

    @property
    def boot(self) -> Start | None:
        """How it was started, by its own word; None until it has said so, before its verdict."""
        ...

    @property
    def spans(self) -> Sequence[Span]:
        """Where its start went, by the guest's own word, if its plan asks for that; complete at the verdict."""
        ...

    async def verdict(self) -> Verdict | None:
        """Wait until the guest's `run:` list has ended; None where the guest ended before that."""
        ...

    async def ended(self) -> End:
        """Wait until all its processes have ended and its console has been read to the end."""
        ...

    def kill(self) -> None:
        """Kill its processes. Nothing happens where they have ended."""
        ...

    async def exec(self, command: Sequence[str], output: OutputSink, options: ExecOptions | None = None) -> int:
        """Run a command in the guest and return its exit status; cancel it in the guest if this is cancelled.

        Where the guest ends first, `output` gets a line of standard error, and the status is 128 and the signal's
        number, or the guest's own. Raises LaunchError where another command is running and the guest runs one at a
        time, or it cannot be sent; ConfigError for options that guests of this engine do not know.
        """
        ...

    async def counters(self) -> Counters | None:
        """Return what the guest counts of itself; None where it counts nothing, or ended before it answered.

        Raises LaunchError where it cannot be asked now.
        """
        ...

    def read_storage(self, write_fd: int, address: int, size_bytes: int) -> None:
        """Write the guest's storage from absolute `address` to the start of a file that reads as zeros.

        Called in a thread of its own, while the guest waits in a hypercall. Raises OSError where the guest has ended,
        or ends meanwhile.
        """
        ...

    def memory(self) -> MemoryLayout:
        """Return where in its processes the guest's memory lies."""
        ...


class Engine(Protocol):
    """Makes instances of one kind. Nothing that it started is left after `close`."""

    name: str

    @property
    def preparation(self) -> tuple[float, float] | None:
        """From when to when it prepared to make guests, by the monotonic clock; None until it has, or need not."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """The engine's own processes, which belong to no guest."""
        ...

    def check(self, guests: Sequence[GuestPlan]) -> Sequence[ConfigProblem]:
        """Return what in these guests' plans this engine cannot run. Called before anything is started."""
        ...

    async def start(self, log: int, mark: Mark) -> None:
        """Start what the guests of one system share; faults of its processes go to the descriptor `log`.

        Each process has `mark` in its environment (dcss.host.mark), by which it is found should CP be killed.

        Called before anything is published, so that no process inherits a segment. Raises LaunchError.
        """
        ...

    async def serve(self) -> NoReturn:
        """Serve the instances until cancelled. Raises LaunchError where the engine itself has ended."""
        ...

    async def spawn(self, plan: GuestPlan, port: Port, log: int) -> Instance:
        """Start a guest whose console goes to the descriptor `log`, and return when it has a process.

        Raises GuestRefusedError or OSError where this guest cannot be started, LaunchError where the engine has ended.
        """
        ...

    async def close(self) -> None:
        """End every instance and the engine, and wait for their processes. May be called twice, and before `start`."""
        ...
