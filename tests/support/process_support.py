"""Processes as the guest's files show them, without anything that runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from errno import EFAULT

from dcss.errors import KernelError
from vmguest.credentials import ROOT, Credentials
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.mount import Dentry
from vmguest.fs.process_view import SignalMasks
from vmguest.identity import ROOT as ROOT_IDENTITY
from vmguest.identity import Identity
from vmguest.kernel import Kernel
from vmguest.terminal import Terminal

PID = 100


@dataclass
class FakeProcess:
    pid: int
    files: Descriptors
    parent_pid: int = 1
    group_id: int = PID
    session_id: int = PID
    state: str = "R"
    credentials: Credentials = ROOT
    identity: Identity = ROOT_IDENTITY
    name: bytes = b"ls"
    words: tuple[bytes, ...] = (b"ls", b"-l")
    environment: tuple[bytes, ...] = (b"A=1", b"B=2")
    auxiliary_vector: bytes = b"\0" * 16
    executable: Dentry | None = None
    root: Dentry | None = None
    directory: Dentry | None = None
    terminal: Terminal | None = None
    threads: tuple[int, ...] = (PID,)
    signals: SignalMasks = field(default_factory=lambda: SignalMasks(0, 0x2, 0x4, 0x1_0000_0000))
    limits: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    nice: int = 0
    virtual_bytes: int = 3 << 20
    resident_bytes: int = 1 << 20
    user_seconds: float = 1.25
    system_seconds: float = 0.5
    start_seconds: float = 2.0

    def read_memory(self, address: int, size_bytes: int) -> bytes:
        raise KernelError(EFAULT, f"{size_bytes} bytes at {address:#x}: it has no memory")

    def maps(self) -> Iterator[bytes]:
        yield b"10000000-10001000 r-xp 00000000 00:10 5 /bin/ls"


def add_process(kernel: Kernel, pid: int = PID, *, makes_calls: bool = True) -> FakeProcess:
    """Add a process in / to a kernel; it is the one that makes system calls."""
    process = FakeProcess(pid, Descriptors(kernel.vfs), threads=(pid,), directory=kernel.vfs.root())
    kernel.processes = {**kernel.processes, pid: process}
    if makes_calls:
        kernel.current_pid = kernel.current_tid = pid
    return process
