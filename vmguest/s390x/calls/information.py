"""System calls that tell of the machine."""

import os
from errno import EINVAL, EPERM
from time import monotonic

from dcss.errors import KernelError
from vmguest import utsname
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import SystemInfo, pack_utsname
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_GRND_FLAGS = 7
_MOST_RANDOM_BYTES = 32 << 20


@CALLS.add("address")
def uname(system: System, thread: Thread, buffer: int) -> int:
    """Tell the system's names."""
    fields = (utsname.SYSTEM, system.kernel.name, utsname.RELEASE, utsname.VERSION, utsname.MACHINE, "(none)")
    thread.process.space.write(buffer, pack_utsname(*(field.encode() for field in fields)))
    return 0


@CALLS.add("address", "int")
def sethostname(system: System, thread: Thread, name: int, size_bytes: int) -> int:
    """Change the host name."""
    if not thread.process.credentials.privileged:
        raise KernelError(EPERM, "only root changes the host name")
    if not 0 <= size_bytes <= 64:
        raise KernelError(EINVAL, f"host name of {size_bytes} bytes")
    system.kernel.name = os.fsdecode(thread.process.space.read(name, size_bytes))
    return 0


@CALLS.add("address")
def sysinfo(system: System, thread: Thread, buffer: int) -> int:
    """Tell memory and uptime."""
    storage = system.kernel.machine.storage
    info = SystemInfo(
        int(monotonic() - system.booted),
        (0, 0, 0),
        storage.size_bytes,
        storage.free_bytes,
        0,
        len(system.table.processes),
    )
    thread.process.space.write(buffer, info.pack())
    return 0


@CALLS.add("buffer", "size", "uint")
def getrandom(_system: System, thread: Thread, buffer: int, size_bytes: int, flags: int) -> int:
    """Store random bytes."""
    if flags & ~_GRND_FLAGS:
        raise KernelError(EINVAL, f"getrandom: flags {flags}")
    data = os.urandom(min(size_bytes, _MOST_RANDOM_BYTES))
    thread.process.space.write(buffer, data)
    return len(data)


@CALLS.add("int", "buffer", "int")
def syslog(system: System, thread: Thread, kind: int, buffer: int, size_bytes: int) -> int:
    """Read the kernel's log."""
    lines = b"".join(os.fsencode(line) + b"\n" for line in system.kernel.log.lines())
    if kind in {2, 3, 4}:  # read, read all, read all and clear
        part = lines[-max(0, size_bytes) :]
        thread.process.space.write(buffer, part)
        return len(part)
    return len(lines) if kind in {9, 10} else 0  # how much is unread, how large the log is


@CALLS.add("uint", "uint", "address", "size", "uint")
def kcmp(_system: System, _thread: Thread, *_: int) -> int:
    """Refuse."""
    raise KernelError(EPERM, "kcmp")
