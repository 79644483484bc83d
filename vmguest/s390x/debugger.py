"""A program under a debugger: it stands still, goes on, or goes on by one instruction, as that asks for (ptrace).

A breakpoint is an instruction that there is not, in a copy of the page that the program gets for it. All threads stand
still together.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from errno import ESRCH

from dcss.errors import KernelError
from vmguest.s390x.cpu import Registers
from vmguest.s390x.gdb_protocol import GdbServer, Resumption
from vmguest.s390x.process import Process, Thread
from vmguest.s390x.signals import SI_USER, SIGINT, SIGKILL, SIGTRAP, SignalInfo, bit
from vmguest.s390x.space import FaultError
from vmguest.s390x.system import System

_BREAKPOINT = b"\x00\x01"  # as Linux has it for s390
_GENERAL = struct.Struct(">2Q16Q16II16Q")
_DESCRIPTION = """\
<?xml version="1.0"?>
<!DOCTYPE target SYSTEM "gdb-target.dtd">
<target><architecture>s390:64-bit</architecture><osabi>GNU/Linux</osabi>
<feature name="org.gnu.gdb.s390.core">
<reg name="pswm" bitsize="64" type="uint64" group="psw"/><reg name="pswa" bitsize="64" type="uint64" group="psw"/>
{general}</feature>
<feature name="org.gnu.gdb.s390.acr">{access}</feature>
<feature name="org.gnu.gdb.s390.fpr"><reg name="fpc" bitsize="32" type="uint32" group="float"/>{floating}</feature>
</target>
"""


def _registers_xml(prefix: str, bits: int, kind: str, group: str) -> str:
    return "".join(
        f'<reg name="{prefix}{number}" bitsize="{bits}" type="{kind}" group="{group}"/>' for number in range(16)
    )


class Debugger:
    """Has one process debugged by gdb; `send` takes what goes to gdb. The process does not run until gdb says so."""

    def __init__(self, system: System, process: Process, send: Callable[[bytes], None]) -> None:
        self._system, self._process = system, process
        self._breakpoints: dict[int, bytes] = {}
        self._server = GdbServer(self, send)
        self._interrupted = False
        self._stepping: Thread | None = None
        self._goes_on_with: dict[Thread, int] = {}  # signals that gdb has seen
        self._stopped = self._selected = process.threads[0]
        self.stop_signal = SIGTRAP
        process.debugger = self
        self._stopped.held = True

    def feed(self, data: bytes) -> None:
        """Take what gdb sends."""
        self._server.feed(data)

    # -- what the program does -------------------------------------------------------------------------------------

    def is_breakpoint(self, address: int) -> bool:
        """Return whether the program is to stop before an instruction."""
        return address in self._breakpoints

    def steps(self, thread: Thread) -> bool:
        """Return whether a thread is to run one instruction only."""
        return thread is self._stepping

    def stop(self, thread: Thread, number: int) -> None:
        """Have the program stand still: a thread came to a breakpoint, or a signal is about to be delivered to it."""
        self.stop_signal, self._stopped, self._selected = number, thread, thread
        self._stepping, self._interrupted = None, False
        self._hold(held=True)
        self._server.stopped()

    def stops_for(self, thread: Thread, number: int) -> bool:
        """Stop before a signal is delivered, unless gdb has a thread go on with it; return whether it did."""
        if number == SIGKILL or self._goes_on_with.pop(thread, 0) == number:
            return False
        self.stop(thread, number)
        return True

    def paused(self, thread: Thread) -> None:
        """Stop the program if that was asked for: the thread is between two instructions."""
        if thread.ended or thread.held:
            return
        if self._interrupted:
            self.stop(thread, SIGINT)
        elif self.steps(thread) and thread.waiting is None:
            self.stop(thread, SIGTRAP)
        elif self.steps(thread):  # its system call may wait for another thread
            self._hold(held=False)

    def program_changed(self) -> None:
        """Forget breakpoints: the process runs another program."""
        self._breakpoints.clear()

    def forked(self, child: Process) -> None:
        """Take breakpoints out of a child, which has a copy of the memory and is not debugged."""
        for address, original in self._breakpoints.items():
            with suppress(FaultError):
                child.space.poke(address, original)

    def ended(self) -> None:
        """Tell gdb that the process has ended."""
        status = self._process.ended
        if status is not None:
            self._server.ended(status.code, status.signal)

    # -- what gdb asks for (vmguest.s390x.gdb_protocol.Target) -----------------------------------------------------

    @property
    def thread_ids(self) -> Sequence[int]:
        """Ids of the threads, that of the one that stopped first."""
        threads = sorted(self._process.threads, key=lambda thread: thread is not self._stopped)
        return [thread.tid for thread in threads]

    def select(self, tid: int) -> None:
        """Have registers be those of one thread; 0 and -1 stand for any. Raises KernelError(ESRCH)."""
        self._selected = self._stopped if tid <= 0 else self._thread(tid)

    def description(self) -> bytes:
        """Return the registers, in XML."""
        return _DESCRIPTION.format(
            general=_registers_xml("r", 64, "uint64", "general"),
            access=_registers_xml("acr", 32, "uint32", "access"),
            floating=_registers_xml("f", 64, "ieee_double", "float"),
        ).encode()

    def registers(self) -> bytes:
        """Return all registers."""
        state = self._state()
        return _GENERAL.pack(state.psw_mask, state.address, *state.general, *state.access, state.fpc, *state.left[:16])

    def set_registers(self, packed: bytes) -> None:
        """Set all registers."""
        state = self._state()
        mask, address, *rest = _GENERAL.unpack(packed)
        self._system.cpu.set_registers(
            Registers(
                mask,
                address,
                tuple(rest[:16]),
                tuple(rest[16:32]),
                rest[32],
                (*rest[33:], *state.left[16:]),
                state.right,
            )
        )

    def auxiliary_vector(self) -> bytes:
        """Return what the kernel told the program at its start."""
        return self._process.auxiliary_vector

    def read_memory(self, address: int, size_bytes: int) -> bytes:
        """Return bytes of memory, without breakpoints. Raises FaultError."""
        data = bytearray(self._process.space.read(address, size_bytes))
        for place, original in self._breakpoints.items():
            for index, byte in enumerate(original):
                if address <= place + index < address + size_bytes:
                    data[place + index - address] = byte
        return bytes(data)

    def write_memory(self, address: int, data: bytes) -> None:
        """Store bytes, also where the program may not. Raises FaultError."""
        self._process.space.poke(address, data)
        self._system.cpu.forget_code()

    def insert_breakpoint(self, address: int) -> None:
        """Have the program stop before an instruction. Raises FaultError."""
        if address not in self._breakpoints:
            original = self._process.space.read(address, len(_BREAKPOINT))
            self.write_memory(address, _BREAKPOINT)
            self._breakpoints[address] = original

    def remove_breakpoint(self, address: int) -> None:
        """Have it stop there no more."""
        original = self._breakpoints.pop(address, None)
        if original is not None:
            with suppress(FaultError):  # the program has unmapped it
                self.write_memory(address, original)

    def resume(self, actions: Mapping[int, Resumption]) -> None:
        """Have threads go on, by their ids; the others stand still."""
        for thread in self._process.threads:
            action = actions.get(thread.tid)
            thread.held = action is None
            if action is not None:
                self._set_signal(thread, action.signal)
                if action.step:
                    self._stepping = thread

    def _set_signal(self, thread: Thread, number: int) -> None:
        """Have a thread get the signal that gdb wants, 0 for none, in place of the one that it stopped for."""
        if thread is self._stopped and number != self.stop_signal:
            thread.pending.remove(bit(self.stop_signal))
        if number and not thread.pending.mask & bit(number):
            self._system.delivery.send(self._process, SignalInfo(number, SI_USER), thread)
        self._goes_on_with.pop(thread, None)
        if number and thread.pending.mask & bit(number):  # not one that it ignores
            self._goes_on_with[thread] = number

    def interrupt(self) -> None:
        """Have it stop soon."""
        self._interrupted = True
        running = [thread for thread in self._process.threads if not thread.held]
        if running and all(thread.waiting is not None for thread in running):
            self.paused(running[0])

    def kill(self) -> None:
        """End the process."""
        self._system.life.kill(self._process, SIGKILL)

    def detach(self) -> None:
        """Let it run without gdb."""
        for address in tuple(self._breakpoints):
            self.remove_breakpoint(address)
        self._process.debugger = None
        self._hold(held=False)

    def _hold(self, *, held: bool) -> None:
        """Have all threads stand still, or run."""
        for thread in self._process.threads:
            thread.held = held

    def _state(self) -> Registers:
        if self._selected.ended:
            raise KernelError(ESRCH, f"thread {self._selected.tid} has ended")
        self._system.scheduler.load(self._selected)
        return self._system.cpu.registers()

    def _thread(self, tid: int) -> Thread:
        found = next((thread for thread in self._process.threads if thread.tid == tid), None)
        if found is None:
            raise KernelError(ESRCH, f"process {self._process.pid} has no thread {tid}")
        return found
