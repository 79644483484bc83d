"""Programs as /proc shows them (vmguest.fs.process_view)."""

from collections.abc import Iterator, Mapping
from errno import EFAULT

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest.credentials import Credentials
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.mount import Dentry
from vmguest.fs.open import FileDescription
from vmguest.fs.process_view import SignalMasks
from vmguest.identity import Identity
from vmguest.mm_area import PROT_EXEC, PROT_READ, PROT_WRITE, MemoryArea
from vmguest.s390x.auxv import STACK_FIRST
from vmguest.s390x.calls.structures import device_of
from vmguest.s390x.process import Process
from vmguest.s390x.signals import SIG_DFL, SIG_IGN, bit
from vmguest.s390x.system import System
from vmguest.terminal import Terminal


class ProgramView:
    """One process; see vmguest.fs.process_view.ProcessView."""

    def __init__(self, process: Process, system: System) -> None:
        self._process, self._system = process, system
        self.pid = process.pid
        self.parent_pid = 1 if process.parent is None else process.parent.pid
        self.group_id, self.session_id = process.group, process.session
        self.credentials: Credentials = process.credentials
        self.identity: Identity = process.identity
        self.name, self.words, self.environment = process.name, process.words, process.environment
        self.auxiliary_vector = process.auxiliary_vector
        self.files: Descriptors = process.files
        self.terminal: Terminal | None = process.terminal
        self.limits: Mapping[int, tuple[int, int]] = process.limits
        self.nice = process.nice
        self.user_seconds, self.system_seconds = process.user_seconds, 0.0
        self.start_seconds = process.started - system.booted

    @property
    def state(self) -> str:
        """R runs, S waits, T is stopped, Z is a zombie."""
        process = self._process
        if process.ended is not None:
            return "Z"
        if process.stopped_by:
            return "T"
        return "R" if any(thread.waiting is None for thread in process.threads) else "S"

    @property
    def executable(self) -> Dentry | None:
        """The program."""
        return None if self._process.ended is not None else self._process.executable

    @property
    def directory(self) -> Dentry | None:
        """Working directory."""
        return None if self._process.ended is not None else self._process.directory.place

    @property
    def threads(self) -> tuple[int, ...]:
        """Ids of its threads."""
        return tuple(thread.tid for thread in self._process.threads)

    @property
    def signals(self) -> SignalMasks:
        """Its signals."""
        process = self._process
        handlers = {number: action.handler for number, action in process.actions.items()}
        ignored = sum(bit(number) for number, handler in handlers.items() if handler == SIG_IGN)
        caught = sum(bit(number) for number, handler in handlers.items() if handler not in {SIG_IGN, SIG_DFL})
        blocked = process.threads[0].blocked if process.threads else 0
        return SignalMasks(process.pending.mask, blocked, ignored, caught)

    @property
    def root(self) -> Dentry | None:
        """Where its absolute paths begin, None for the guest's root."""
        return None if self._process.ended is not None else self._process.directory.root

    @property
    def virtual_bytes(self) -> int:
        """Size of its address space."""
        return 0 if self._process.ended is not None else sum(a.pages for a in self._process.space.areas) * PAGE_SIZE

    @property
    def resident_bytes(self) -> int:
        """How much of that is in its page tables."""
        return 0 if self._process.ended is not None else self._process.space.present_pages * PAGE_SIZE

    def read_memory(self, address: int, size_bytes: int) -> bytes:
        """Return bytes of its memory. Raises KernelError(EFAULT) where there is none, or it has ended."""
        if self._process.ended is not None:
            raise KernelError(EFAULT, f"process {self.pid}: has ended")
        return self._process.space.read(address, size_bytes)

    def maps(self) -> Iterator[bytes]:
        """Yield the lines of /proc/PID/maps."""
        if self._process.ended is None:
            for area in self._process.space.areas:
                yield self._line(area)

    def _line(self, area: MemoryArea) -> bytes:
        space = self._process.space
        bits = ((PROT_READ, "r"), (PROT_WRITE, "w"), (PROT_EXEC, "x"))
        access = "".join(letter if area.protection & each else "-" for each, letter in bits)
        access += "s" if area.shared else "p"
        offset = inode = 0
        text, path = "00:00", b""
        if isinstance(area.file, FileDescription):
            dentry = area.file.dentry
            major, minor = device_of(dentry.mount)
            text, inode, path = f"{major:02x}:{minor:02x}", dentry.inode.number, dentry.path
            offset = area.file_page << PAGE_SHIFT
        elif area.address >= STACK_FIRST:
            path = b"[stack]"
        elif space.program_end <= area.address < space.break_end:
            path = b"[heap]"
        head = f"{area.address:08x}-{area.end << PAGE_SHIFT:08x} {access} {offset:08x} {text} {inode} "
        return (head.encode().ljust(73) + path) if path else head.encode()


class ProcessViews(Mapping[int, ProgramView]):
    """All processes of a guest by their ids."""

    def __init__(self, system: System) -> None:
        self._system = system

    def __getitem__(self, pid: int) -> ProgramView:
        return ProgramView(self._system.table.processes[pid], self._system)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._system.table.processes))

    def __len__(self) -> int:
        return len(self._system.table.processes)
