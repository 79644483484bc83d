"""System calls on signals."""

import struct
from errno import EAGAIN, EINVAL, ENOMEM, EPERM, ESRCH
from time import monotonic

from dcss.errors import KernelError
from vmguest.identity import CAP_KILL
from vmguest.s390x.calls.registry import DONE, CallGroup
from vmguest.s390x.calls.structures import STACK, TIMESPEC, ULONG
from vmguest.s390x.process import Process, Thread, WaitError
from vmguest.s390x.signal_frame import AlternateStack
from vmguest.s390x.signals import (
    SI_TKILL,
    SIG_DFL,
    SIG_IGN,
    SIGCONT,
    SIGKILL,
    SIGRTMAX,
    SIGSTOP,
    SS_DISABLE,
    SS_ONSTACK,
    Action,
    Default,
    SignalInfo,
    bit,
    blockable,
    default_of,
)
from vmguest.s390x.system import System

CALLS = CallGroup()
_SET_BYTES = 8
_SIG_BLOCK, _SIG_UNBLOCK, _SIG_SETMASK = 0, 1, 2
_MINIMUM_STACK_BYTES = 4096  # MINSIGSTKSZ of s390
_STACK_POINTER = 15


def check_number(number: int) -> None:
    """Raise KernelError(EINVAL) for what is neither a signal nor 0, which asks only whether one could be sent."""
    if not 0 <= number <= SIGRTMAX:
        raise KernelError(EINVAL, f"signal {number}")


@CALLS.add("signal", "address", "address", "size")
def rt_sigaction(_system: System, thread: Thread, number: int, new: int, old: int, size_bytes: int) -> int:
    """Say what to do at a signal."""
    process, space = thread.process, thread.process.space
    if not 1 <= number <= SIGRTMAX or size_bytes != _SET_BYTES or (new and number in {SIGKILL, SIGSTOP}):
        raise KernelError(EINVAL, f"rt_sigaction of signal {number}, sets of {size_bytes} bytes")
    before = process.action(number)
    if new:
        action = Action.unpack(space.read(new, 32))
        action = action._replace(mask=blockable(action.mask))
        process.actions[number] = action
        ignored = action.handler == SIG_DFL and default_of(number) is Default.IGNORE
        if action.handler == SIG_IGN or ignored:
            process.pending.remove(bit(number))
            for each in process.threads:
                each.pending.remove(bit(number))
    if old:
        space.write(old, before.pack())
    return 0


@CALLS.add("int", "address", "address", "size")
def rt_sigprocmask(_system: System, thread: Thread, how: int, new: int, old: int, size_bytes: int) -> int:
    """Block and unblock signals."""
    space, before = thread.process.space, thread.blocked
    if size_bytes != _SET_BYTES:
        raise KernelError(EINVAL, f"a set of {size_bytes} bytes")
    if new:
        (wanted,) = ULONG.unpack(space.read(new, _SET_BYTES))
        if how == _SIG_BLOCK:
            wanted |= before
        elif how == _SIG_UNBLOCK:
            wanted = before & ~wanted
        elif how != _SIG_SETMASK:
            raise KernelError(EINVAL, f"rt_sigprocmask {how}")
        thread.blocked = blockable(wanted)
    if old:
        space.write(old, ULONG.pack(before))
    return 0


@CALLS.add("address", "size")
def rt_sigpending(_system: System, thread: Thread, buffer: int, _size: int) -> int:
    """Tell which signals wait because they are blocked."""
    pending = (thread.pending.mask | thread.process.pending.mask) & thread.blocked
    thread.process.space.write(buffer, ULONG.pack(pending))
    return 0


@CALLS.add("address", "size")
def rt_sigsuspend(_system: System, thread: Thread, mask: int, size_bytes: int) -> int:
    """Wait for a signal, with others blocked than usual."""
    if size_bytes != _SET_BYTES:
        raise KernelError(EINVAL, f"a set of {size_bytes} bytes")
    set_mask(thread, mask)
    raise WaitError(lambda: False, restart=False)


def set_mask(thread: Thread, address: int) -> None:
    """Block the signals of a set, until the call is over."""
    if address and thread.restored_mask is None:
        (wanted,) = ULONG.unpack(thread.process.space.read(address, _SET_BYTES))
        thread.restored_mask, thread.blocked = thread.blocked, blockable(wanted)


@CALLS.add()
def pause(_system: System, _thread: Thread) -> int:
    """Wait for a signal."""
    raise WaitError(lambda: False, restart=False)


@CALLS.add("address", "address", "address", "size")
def rt_sigtimedwait(_system: System, thread: Thread, wanted: int, info: int, timeout: int, _size: int) -> int:
    """Take a pending signal, or wait for one."""
    space, process = thread.process.space, thread.process
    (signals,) = ULONG.unpack(space.read(wanted, _SET_BYTES))
    taken = thread.pending.take(signals) or process.pending.take(signals)
    if taken is not None:
        if info:
            space.write(info, taken.pack())
        return taken.number
    if thread.deadline is None and timeout:
        seconds, nanoseconds = TIMESPEC.unpack(space.read(timeout, TIMESPEC.size))
        thread.deadline = monotonic() + seconds + nanoseconds / 1e9
    if thread.deadline is not None and monotonic() >= thread.deadline:
        raise KernelError(EAGAIN, "no signal came in time")
    raise WaitError(
        lambda: bool((thread.pending.mask | process.pending.mask) & signals), thread.deadline, restart=False
    )


@CALLS.add()
def rt_sigreturn(system: System, thread: Thread) -> int | None:
    """Go on where a signal came."""
    system.delivery.leave_handler(thread)
    return DONE


@CALLS.add("address", "address")
def sigaltstack(system: System, thread: Thread, new: int, old: int) -> int:
    """Say which stack signal handlers run on."""
    space, before = thread.process.space, thread.stack
    on_stack = before.holds(system.cpu.general(_STACK_POINTER))
    if new:
        address, flags, size_bytes = STACK.unpack(space.read(new, STACK.size))
        if on_stack:
            raise KernelError(EPERM, "the program is on its alternate stack")
        if flags & ~(SS_DISABLE | SS_ONSTACK):
            raise KernelError(EINVAL, f"sigaltstack: flags {flags}")
        if not flags & SS_DISABLE and size_bytes < _MINIMUM_STACK_BYTES:
            raise KernelError(ENOMEM, f"alternate stack of {size_bytes} bytes, wanted {_MINIMUM_STACK_BYTES}")
        disabled = flags & SS_DISABLE
        thread.stack = AlternateStack(0 if disabled else address, disabled, 0 if disabled else size_bytes)
    if old:
        flags = SS_ONSTACK if on_stack else (0 if before.size_bytes else SS_DISABLE)
        space.write(old, STACK.pack(before.address, flags, before.size_bytes))
    return 0


def may_signal(thread: Thread, process: Process, number: int) -> bool:
    """Return whether a thread may send a process a signal (check_kill_permission)."""
    sender, target = thread.process.identity, process.identity.users
    same_session = number == SIGCONT and process.session == thread.process.session
    same_user = not {sender.users.real, sender.users.effective}.isdisjoint({target.real, target.saved})
    return sender.capabilities.has(CAP_KILL) or same_user or same_session


@CALLS.add("pid", "signal")
def kill(system: System, thread: Thread, pid: int, number: int) -> int:
    """Send a signal to a process or a group."""
    check_number(number)
    table, me = system.table, thread.process
    if pid > 0:
        found = table.processes.get(pid)
        targets = [] if found is None else [found]
    elif pid == -1:
        targets = [each for each in table.processes.values() if each is not me and each.ended is None]
    else:
        targets = list(table.group(-pid or me.group))
    if not targets:
        raise KernelError(ESRCH, f"kill {pid}: there is none")
    allowed = [each for each in targets if may_signal(thread, each, number)]
    if not allowed:
        raise KernelError(EPERM, f"kill {pid}: not yours")
    if number:
        for each in allowed:
            system.delivery.send(each, SignalInfo.sent(number, me.pid, me.credentials.uid))
    return 0


@CALLS.add("pid", "pid", "signal")
def tgkill(system: System, thread: Thread, group: int, tid: int, number: int) -> int:
    """Send a signal to a thread."""
    check_number(number)
    found = system.table.threads.get(tid)
    if found is None or group not in {-1, found.process.pid}:
        raise KernelError(ESRCH, f"thread {tid}: there is none")
    if not may_signal(thread, found.process, number):
        raise KernelError(EPERM, f"thread {tid}: not yours")
    if number:
        me = thread.process
        info = SignalInfo.sent(number, me.pid, me.credentials.uid, SI_TKILL)
        system.delivery.send(found.process, info, found)
    return 0


@CALLS.add("pid", "signal")
def tkill(system: System, thread: Thread, tid: int, number: int) -> int:
    """Send a signal to a thread."""
    return tgkill(system, thread, -1, tid, number) or 0


@CALLS.add("pid", "signal", "address")
def rt_sigqueueinfo(system: System, thread: Thread, pid: int, number: int, info: int) -> int:
    """Send a signal with a value."""
    check_number(number)
    found = system.table.processes.get(pid)
    if found is None:
        raise KernelError(ESRCH, f"process {pid}: there is none")
    sent = read_info(thread, found, number, info)
    if number and not system.delivery.send(found, sent):
        raise KernelError(EAGAIN, f"process {pid}: as many signals wait as may")
    return 0


@CALLS.add("pid", "pid", "signal", "address")
def rt_tgsigqueueinfo(system: System, thread: Thread, group: int, tid: int, number: int, info: int) -> int:
    """Send a thread a signal with a value."""
    check_number(number)
    found = system.table.threads.get(tid)
    if group <= 0 or tid <= 0:
        raise KernelError(EINVAL, f"thread {tid} of process {group}")
    if found is None or found.process.pid != group:
        raise KernelError(ESRCH, f"thread {tid} of process {group}: there is none")
    sent = read_info(thread, found.process, number, info)
    if number and not system.delivery.send(found.process, sent, found):
        raise KernelError(EAGAIN, f"thread {tid}: as many signals wait as may")
    return 0


def read_info(thread: Thread, to: Process, number: int, address: int) -> SignalInfo:
    """Return what a program says of a signal to a process. Raises KernelError(EPERM): only the kernel says so."""
    packed = thread.process.space.read(address, 128)
    (code,) = struct.unpack_from(">i", packed, 8)
    if (code >= 0 or code == SI_TKILL) and to is not thread.process:
        raise KernelError(EPERM, f"a signal with code {code} for process {to.pid}")
    return SignalInfo(number, code, packed[16:])
