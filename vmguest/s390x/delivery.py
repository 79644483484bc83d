"""Send signals, and deliver them: what Linux does on the way back to a program (kernel/signal.c)."""

from collections.abc import Callable
from errno import EINTR

from vmguest.s390x.cpu import Cpu
from vmguest.s390x.futexes import Futexes
from vmguest.s390x.process import Process, Thread
from vmguest.s390x.process_table import ProcessTable
from vmguest.s390x.signal_frame import (
    CONTEXT_AT,
    CONTEXT_BYTES,
    INFO_AT,
    AlternateStack,
    frame_address,
    pack_frame,
    unpack_context,
)
from vmguest.s390x.signals import (
    CLD_CONTINUED,
    CLD_STOPPED,
    DEFAULT_ACTION,
    SA_NOCLDSTOP,
    SA_NODEFER,
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
    SI_KERNEL,
    SIG_DFL,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGKILL,
    SIGSEGV,
    SIGSTOP,
    SS_DISABLE,
    STOPS,
    Default,
    SignalInfo,
    bit,
    blockable,
    default_of,
)
from vmguest.s390x.space import FaultError

_RETURN_ADDRESS, _STACK_POINTER = 14, 15
_RETURN_AT = 160
_CALL_BYTES = 2  # the length of SVC
_STOP_BITS = sum(bit(number) for number in STOPS)
_UNHANDLED = frozenset({SIGKILL, SIGSTOP})


class Delivery:
    """Signals of one guest. `end` ends a process by a signal."""

    def __init__(self, cpu: Cpu, table: ProcessTable, futexes: Futexes, end: Callable[[Process, int], None]) -> None:
        self._cpu = cpu
        self._futexes = futexes
        self._table = table
        self._end = end

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, process: Process, info: SignalInfo, thread: Thread | None = None) -> bool:
        """Send a signal to a process, or to one thread of it; return False where too many of its kind wait."""
        if process.ended is not None:
            return True
        number = info.number
        if number in {SIGCONT, SIGKILL}:
            self._forget(process, _STOP_BITS)
            if process.stopped_by:
                process.stopped_by = 0
                if number == SIGCONT:
                    self._tell_parent(process, CLD_CONTINUED, SIGCONT)
        elif number in STOPS:
            self._forget(process, bit(SIGCONT))
        if self._is_ignored(process, number, thread):
            return True
        return (process if thread is None else thread).pending.add(info)

    def send_group(self, group: int, info: SignalInfo) -> int:
        """Send a signal to every process of a group; return how many there are."""
        members = list(self._table.group(group))
        for process in members:
            self.send(process, info)
        return len(members)

    def force(self, thread: Thread, info: SignalInfo) -> None:
        """Send a thread a signal that it cannot go on without: one that is blocked or ignored ends it."""
        action = thread.process.action(info.number)
        if action.handler == SIG_IGN or thread.blocked & bit(info.number):
            thread.process.actions.pop(info.number, None)
            thread.blocked &= ~bit(info.number)
        thread.pending.add(info)

    def tell_parent_of_end(self, process: Process, code: int, status: int) -> None:
        """Send SIGCHLD for a process that has ended."""
        if process.parent is not None:
            info = SignalInfo.child(code, process.pid, process.credentials.uid, status)
            self.send(process.parent, info)

    def _is_ignored(self, process: Process, number: int, thread: Thread | None) -> bool:
        handler = process.action(number).handler
        if handler != SIG_IGN and not (handler == SIG_DFL and default_of(number) is Default.IGNORE):
            return False
        return not any(each.blocked & bit(number) for each in ([thread] if thread is not None else process.threads))

    def _forget(self, process: Process, signals: int) -> None:
        process.pending.remove(signals)
        for thread in process.threads:
            thread.pending.remove(signals)

    def _tell_parent(self, process: Process, change: int, status: int) -> None:
        process.change = change
        parent = process.parent
        if parent is not None and not parent.action(SIGCHLD).flags & SA_NOCLDSTOP:
            self.send(parent, SignalInfo.child(change, process.pid, process.credentials.uid, status))

    # -- delivering ------------------------------------------------------------------------------------------------

    def deliver(self, thread: Thread) -> bool:
        """Deliver what is pending for the loaded thread; return whether it can run: it may end, stop, or wait on."""
        process = thread.process
        while not thread.ended and thread.deliverable and not process.stopped_by:
            info = thread.take_signal()
            if info is None:
                break
            if process.debugger is not None and process.debugger.stops_for(thread, info.number):
                thread.pending.add(info)  # it may be gone when the program goes on
                return False
            number, action = info.number, process.action(info.number)
            if number in _UNHANDLED:
                action = DEFAULT_ACTION
            if action.handler == SIG_IGN:
                continue
            if action.handler != SIG_DFL:
                self._call_handler(thread, info)
                continue
            default = default_of(number)
            if default is Default.END:
                self._end(process, number)
            elif default is Default.STOP:
                process.stopped_by = number
                self._tell_parent(process, CLD_STOPPED, number)
        if thread.restored_mask is not None and not thread.in_call:  # no handler will do it
            thread.blocked, thread.restored_mask = thread.restored_mask, None
        return not thread.ended and not process.stopped_by and thread.waiting is None

    def _call_handler(self, thread: Thread, info: SignalInfo) -> None:
        """Have the program go on in a handler, on a frame of its own."""
        cpu, process = self._cpu, thread.process
        action = process.action(info.number)
        if thread.in_call:
            self._leave_call(thread, restart=bool(action.flags & SA_RESTART))
        state = cpu.registers()
        pointer = state.general[_STACK_POINTER]
        stack = thread.stack
        if action.flags & SA_ONSTACK and stack.size_bytes and not stack.holds(pointer):
            pointer = stack.address + stack.size_bytes
        frame = frame_address(pointer)
        blocked = thread.blocked if thread.restored_mask is None else thread.restored_mask
        thread.restored_mask = None
        try:
            process.space.write(frame, pack_frame(state, info.pack(), blocked, stack))
        except FaultError:
            if info.number == SIGSEGV:
                self._end(process, SIGSEGV)
                return
            process.actions.pop(SIGSEGV, None)
            thread.blocked &= ~bit(SIGSEGV)
            thread.pending.add(SignalInfo(SIGSEGV, SI_KERNEL))
            return
        if action.flags & SA_RESETHAND:
            process.actions.pop(info.number, None)
        thread.blocked = blockable(
            thread.blocked | action.mask | (0 if action.flags & SA_NODEFER else bit(info.number))
        )
        for register, value in (
            (_RETURN_ADDRESS, frame + _RETURN_AT),
            (_STACK_POINTER, frame),
            (2, info.number),
            (3, frame + INFO_AT),
            (4, frame + CONTEXT_AT),
        ):
            cpu.set_general(register, value)
        cpu.address = action.handler

    def _leave_call(self, thread: Thread, *, restart: bool) -> None:
        """End a call that waits: it is made again after the handler, or fails (EINTR)."""
        waiting = thread.waiting
        thread.leave_call()
        self._futexes.forget(thread)
        if restart and waiting is not None and waiting.restart:
            return
        self._cpu.set_general(2, -EINTR)
        self._cpu.address += _CALL_BYTES

    def leave_handler(self, thread: Thread) -> None:
        """Go on where a handler's signal came (rt_sigreturn). Raises FaultError where the frame is gone."""
        frame = self._cpu.general(_STACK_POINTER)
        context = thread.process.space.read(frame + CONTEXT_AT, CONTEXT_BYTES)
        state, blocked, stack = unpack_context(context)
        self._cpu.set_registers(state)
        thread.blocked = blockable(blocked)
        if not thread.stack.holds(state.general[_STACK_POINTER]):
            thread.stack = AlternateStack(stack.address, stack.flags & SS_DISABLE, stack.size_bytes)
