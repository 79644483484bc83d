"""System calls on which processor threads run: a guest has one."""

from errno import EINVAL, ESRCH

from dcss.errors import KernelError
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import ULONG
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()


def _check(system: System, tid: int) -> None:
    if tid and tid not in system.table.threads:
        raise KernelError(ESRCH, f"thread {tid}: there is none")


@CALLS.add("pid", "uint", "address")
def sched_getaffinity(system: System, thread: Thread, tid: int, size_bytes: int, buffer: int) -> int:
    """Tell which processors may be used: the one that there is."""
    if size_bytes < ULONG.size or size_bytes % ULONG.size:
        raise KernelError(EINVAL, f"sched_getaffinity into {size_bytes} bytes")
    _check(system, tid)
    thread.process.space.write(buffer, ULONG.pack(1))
    return ULONG.size


@CALLS.add("pid", "uint", "address")
def sched_setaffinity(system: System, thread: Thread, tid: int, size_bytes: int, buffer: int) -> int:
    """Say which processors may be used."""
    (mask,) = ULONG.unpack(thread.process.space.read(buffer, min(size_bytes, ULONG.size)).ljust(ULONG.size, b"\0"))
    _check(system, tid)
    if not mask & 1:
        raise KernelError(EINVAL, "sched_setaffinity without the one processor that there is")
    return 0


@CALLS.add()
def sched_yield(system: System, _thread: Thread) -> int:
    """Let others run."""
    system.cpu.stop()
    return 0


@CALLS.add("address", "address", "address")
def getcpu(_system: System, thread: Thread, processor: int, node: int, _unused: int) -> int:
    """Tell which processor this runs on."""
    for address in (processor, node):
        if address:
            thread.process.space.write(address, bytes(4))
    return 0
