"""Where programs enter the guest kernel: supervisor calls and program checks (arch/s390/kernel/traps.c, fault.c)."""

from contextlib import suppress
from errno import ENOSYS

from dcss.errors import KernelError
from vmguest.kernel import Kernel
from vmguest.s390x.calls.all import CALLS
from vmguest.s390x.calls.numbers import NAMES
from vmguest.s390x.calls.registry import DONE
from vmguest.s390x.cpu import DATA, OPERATION, TRANSLATIONS, CpuError
from vmguest.s390x.crash import Crash, report
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.signal_frame import LEAVE_HANDLER
from vmguest.s390x.signals import SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SignalInfo
from vmguest.s390x.software import perform
from vmguest.s390x.space import Fault, FaultError
from vmguest.s390x.strace import trace_line
from vmguest.s390x.system import System
from vmguest.s390x.wrong_instructions import LONGEST_BYTES, instruction_bytes

_CALL_BYTES = 2
_PROTECTION, _VECTOR = 0x04, 0x1B
# Interruption codes: the signal, and its si_code from <asm-generic/siginfo.h>.
_SIGNALS: dict[int, tuple[int, int]] = {
    0x01: (SIGILL, 1),  # operation: ILL_ILLOPC
    0x02: (SIGILL, 5),  # privileged operation: ILL_PRVOPC
    0x03: (SIGILL, 2),  # execute: ILL_ILLOPN
    0x05: (SIGILL, 3),  # addressing: ILL_ILLADR
    0x06: (SIGILL, 2),  # specification: ILL_ILLOPN
    0x08: (SIGFPE, 2),  # fixed-point overflow: FPE_INTOVF
    0x09: (SIGFPE, 1),  # fixed-point divide: FPE_INTDIV
    0x0C: (SIGFPE, 4),  # hexadecimal exponent overflow: FPE_FLTOVF
    0x0D: (SIGFPE, 5),  # hexadecimal exponent underflow: FPE_FLTUND
    0x0E: (SIGFPE, 6),  # hexadecimal significance: FPE_FLTRES
    0x0F: (SIGFPE, 3),  # hexadecimal divide: FPE_FLTDIV
    0x13: (SIGILL, 2),  # special operation
    0x15: (SIGILL, 2),  # operand
    0x1D: (SIGFPE, 7),  # hexadecimal square root: FPE_FLTINV
}
# Data-exception codes of IEEE operations, whose lowest two bits are zero, and the si_code of SIGFPE.
_IEEE_CODES = ((0x80, 7), (0x40, 3), (0x20, 4), (0x10, 5), (0x08, 6))
_NOT_IEEE = 3
_VECTOR_CODES = (0, 7, 3, 4, 5, 6)  # si_code by the right half of a vector-exception code


class Traps:
    """The guest kernel's side of the CPU."""

    def __init__(self, kernel: Kernel) -> None:
        self.system = System(kernel, self.resume, self._crashed, self._failed)
        self._kernel = kernel
        cpu = self.system.cpu
        cpu.on_call, cpu.on_check = self._supervisor_call, self._program_check
        self._last_fault: Crash | None = None

    # -- before a thread runs --------------------------------------------------------------------------------------

    def resume(self, thread: Thread) -> bool:
        """Make the call again that a loaded thread waits in, deliver its signals; return whether it can run."""
        kernel, process = self._kernel, thread.process
        kernel.vfs.user, kernel.current_pid, kernel.current_tid = process.credentials, process.pid, thread.tid
        kernel.vfs.task_root = process.directory.root
        if thread.held:
            return False
        if thread.in_call and not thread.process.stopped_by:
            registers = self.system.cpu.call_registers()
            self._make_call(thread, registers)
        if thread.ended:
            return False
        if thread.deliverable:
            return self.system.delivery.deliver(thread)
        return thread.waiting is None and not thread.process.stopped_by

    # -- supervisor calls ------------------------------------------------------------------------------------------

    def _supervisor_call(self) -> bool:
        thread = self.system.scheduler.current
        assert thread is not None, "the CPU runs a thread"
        going = self._make_call(thread, self.system.cpu.call_registers())
        if going:
            self.system.scheduler.purge_if_stale(thread)
        return going

    def _make_call(self, thread: Thread, registers: list[int]) -> bool:
        """Make the system call at which a thread is; return whether it can go on at once."""
        system = self.system
        address, process = registers[0], thread.process
        if thread.in_call:
            number = thread.call_number
        else:
            place = process.space.absolute(address + 1)
            number = system.frames.memory[place] or registers[1] & 0xFFFF_FFFF
        call = CALLS.get(number)
        try:
            result: int | None = self._unknown(number) if call is None else call(system, thread, registers)
        except KernelError as error:
            result = -(error.errno or ENOSYS)
        except WaitError as wait:
            thread.waiting, thread.in_call, thread.call_number = wait.waiting, True, number
            return False
        if process.trace is not None:
            process.trace(trace_line(process.pid, call, number, registers[2:8], result, process.space))
        if thread.ended:
            return False
        self._finish(thread, result, address)
        return not thread.deliverable and not process.stopped_by and result is not DONE

    def _finish(self, thread: Thread, result: int | None, address: int) -> None:
        thread.waiting, thread.in_call, thread.deadline = None, False, None
        if thread.withdraw is not None:
            thread.withdraw()
            thread.withdraw = None
        if result is DONE:
            return
        cpu = self.system.cpu
        cpu.set_result(result, address + _CALL_BYTES)
        if thread.restored_mask is not None and not thread.deliverable:
            thread.blocked, thread.restored_mask = thread.restored_mask, None

    def _unknown(self, number: int) -> int:
        return self.system.unknown(f"system call {NAMES.get(number, 'of no name')} ({number})")

    # -- program checks --------------------------------------------------------------------------------------------

    def _program_check(self, code: int) -> bool:
        system = self.system
        thread = system.scheduler.current
        assert thread is not None, "the CPU runs a thread"
        space = thread.process.space
        if code in TRANSLATIONS:
            access = system.cpu.failing_access
            if code == _PROTECTION and not access.store and self._leaves_handler(thread):
                return self._supervisor_call()
            fault = space.fault(access.address, store=access.store)
            if fault is None:
                system.scheduler.purge_if_stale(thread)
                return True
            self._access_failed(thread, fault, system.cpu.address)
            return False
        address = system.cpu.address
        debugger = thread.process.debugger
        if code == OPERATION and debugger is not None and debugger.is_breakpoint(address):
            debugger.stop(thread, SIGTRAP)
            return False
        if code == OPERATION:
            taken = system.code.taken_out(space.absolute(address))
            if taken is not None:
                return self._perform(thread, address, taken)
        self._fail(thread, code, address)
        return False

    def _fail(self, thread: Thread, code: int, address: int) -> None:
        """Send the signal of an instruction that failed; the program goes on behind it, if it does."""
        number, signal_code = self._signal_of(code)
        self._signal(thread, SignalInfo.fault(number, signal_code, address), address)
        with suppress(FaultError):
            self.system.cpu.address = address + instruction_bytes(thread.process.space.read(address, 1)[0])

    def _leaves_handler(self, thread: Thread) -> bool:
        """Return whether an instruction is the one on the stack that ends a signal's handler.

        It is done without being executed: the stack page would be code from then on, and stores to it slow.
        """
        try:
            place = thread.process.space.absolute(self.system.cpu.address)
        except FaultError:
            return False
        return self.system.frames.memory[place : place + _CALL_BYTES] == LEAVE_HANDLER

    def _perform(self, thread: Thread, address: int, taken: bytes) -> bool:
        """Do an instruction whose first bytes were taken out of its page; return whether the program goes on."""
        cpu, space = self.system.cpu, thread.process.space
        length_bytes = instruction_bytes(taken[0])
        try:
            rest = space.read(address + len(taken), length_bytes - len(taken))
            code = perform(cpu, space, address, taken + rest)
        except FaultError as error:
            self._access_failed(thread, error.fault, address)
            return False
        if code:
            self._fail(thread, code, address)
        cpu.address = address + length_bytes
        return not code

    def _signal_of(self, code: int) -> tuple[int, int]:
        reason = self.system.cpu.data_exception_code
        if code == _VECTOR:
            return SIGFPE, dict(enumerate(_VECTOR_CODES)).get(reason & 0xF, 0)
        if code == DATA and reason:  # COMPARE AND TRAP has one, too: all bits
            found = (si_code for bit, si_code in _IEEE_CODES if reason & bit and not reason & _NOT_IEEE)
            return SIGFPE, next(found, 0)
        if code == DATA:
            return SIGILL, 2
        return _SIGNALS.get(code, (SIGSEGV, 0))

    def _access_failed(self, thread: Thread, fault: Fault, at: int) -> None:
        self._signal(thread, SignalInfo.fault(fault.signal, fault.code, fault.address), at, fault.reason)

    def _signal(self, thread: Thread, info: SignalInfo, at: int, reason: str = "") -> None:
        """Send the signal of an instruction that stands at an address."""
        self._last_fault = Crash(thread, info.number, at, reason)
        self.system.delivery.force(thread, info)
        if thread.process.debugger is not None:
            thread.process.debugger.stop(thread, info.number)

    def _failed(self, thread: Thread | None, error: Exception) -> None:
        """End a program with which the emulator cannot go on, or for which the guest kernel failed."""
        system = self.system
        if isinstance(error, CpuError) and thread is not None:
            self._emulator_failed(thread, error)
            return
        if thread is not None and thread is system.scheduler.current and not thread.ended:
            # Its registers are told, too.
            self._last_fault = Crash(thread.process.threads[0], SIGSEGV, system.cpu.address)
        system.oops(error, None if thread is None else thread.process)

    def _emulator_failed(self, thread: Thread, error: CpuError) -> None:
        """End a program as one with an instruction that there is not."""
        system, process = self.system, thread.process
        name = process.name.decode(errors="replace")
        self._kernel.log.log("err", f"{name}[{process.pid}]: the emulator failed: {error.strerror}")
        self._last_fault = Crash(process.threads[0], SIGILL, system.cpu.address)
        system.life.kill(process, SIGILL)
        system.cpu.forget_code()
        system.cpu.purge()

    def _crashed(self, thread: Thread, number: int) -> None:
        """Log why a program is ended by a fault."""
        last = self._last_fault
        if last is not None and (last.thread, last.number) == (thread, number):
            here = self.system.cpu.address
            if here not in range(last.at, last.at + LONGEST_BYTES + 1):  # a handler ran, and sent it once more
                last = Crash(thread, number, here)
            for line in report(last, self.system.cpu.registers().general):
                self._kernel.log.log("info", line)
