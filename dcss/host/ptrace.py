"""Have another process execute system calls, by ptrace(2), as a debugger does.

Its first thread is stopped wherever it is, made to execute one system call, and goes on as if nothing had happened.
Source: ptrace(2); struct user_regs_struct of arch/x86/include/asm/user_64.h. Only x86_64 is known.
"""

import ctypes
import os
import platform
import signal
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

SEIZE, INTERRUPT, _DETACH, _SINGLESTEP, _GETREGSET, _SETREGSET = 0x4206, 0x4207, 17, 9, 0x4204, 0x4205
_NT_PRSTATUS: Final = 1
WALL: Final = 0x40000000
_SYSCALL: Final = b"\x0f\x05"
_REGISTERS: Final = (
    *(
        "r15",
        "r14",
        "r13",
        "r12",
        "rbp",
        "rbx",
        "r11",
        "r10",
        "r9",
        "r8",
        "rax",
        "rcx",
        "rdx",
        "rsi",
        "rdi",
        "orig_rax",
    ),
    *("rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
_NO_SYSTEM_CALL: Final = 0xFFFF_FFFF_FFFF_FFFF
_LARGEST_ERROR: Final = 4095

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long


class _Registers(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in _REGISTERS)


class _Buffer(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def unsupported_because() -> str | None:
    """Return why no process can be made to execute system calls here, or None where it can."""
    return None if platform.machine() == "x86_64" else f"found a {platform.machine()}, wanted an x86_64"


class StoppedProcess:
    """Process `pid`, stopped while the block lasts, all of which one thread must execute. Raises OSError.

    `code` is an address in it at which the machine instruction syscall stands.
    """

    def __init__(self, pid: int, code: int) -> None:
        self._pid, self._code = pid, code

    def __enter__(self) -> Self:
        request(SEIZE, self._pid)
        try:
            request(INTERRUPT, self._pid)
            self._wait()
        except OSError:
            self._detach()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._detach()

    def call(self, number: int, *arguments: int) -> int:
        """Have it execute a system call and return the result. Raises OSError where that is an error."""
        before = self._registers()
        changed = _Registers.from_buffer_copy(before)
        changed.rip, changed.rax, changed.orig_rax = self._code, number, _NO_SYSTEM_CALL
        for name, value in zip(_ARGUMENTS, arguments, strict=False):
            setattr(changed, name, value)
        self._set_registers(changed)
        try:
            self._step()
            result = ctypes.c_int64(self._registers().rax).value
        finally:
            self._set_registers(before)
        if -_LARGEST_ERROR <= result < 0:
            raise OSError(-result, f"system call {number} in process {self._pid}: {os.strerror(-result)}")
        return result

    def _step(self) -> None:
        """Execute one instruction; a signal that comes meanwhile is passed on once it goes on."""
        pending: list[int] = []
        while True:
            request(_SINGLESTEP, self._pid)
            number = self._wait()
            if number == signal.SIGTRAP:
                break
            pending.append(number)
        for number in pending:
            os.kill(self._pid, number)

    def _wait(self) -> int:
        """Wait until it has stopped, and return the signal that this is about. Raises ProcessLookupError at its end."""
        _, status = os.waitpid(self._pid, WALL)
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError(f"process {self._pid} has ended")
        return os.WSTOPSIG(status)

    def _registers(self) -> _Registers:
        registers = _Registers()
        buffer = _Buffer(ctypes.addressof(registers), ctypes.sizeof(registers))
        request(_GETREGSET, self._pid, _NT_PRSTATUS, ctypes.addressof(buffer))
        return registers

    def _set_registers(self, registers: _Registers) -> None:
        buffer = _Buffer(ctypes.addressof(registers), ctypes.sizeof(registers))
        request(_SETREGSET, self._pid, _NT_PRSTATUS, ctypes.addressof(buffer))

    def _detach(self) -> None:
        with suppress(ProcessLookupError):  # it has ended, or was killed
            request(_DETACH, self._pid)


def syscall_instruction(memory: int, start: int, end: int) -> int | None:
    """Return where in `start` up to `end` of a process the instruction stands; `memory` is its /proc/PID/mem."""
    at = start
    while at < end:
        text = os.pread(memory, min(1 << 20, end - at), at)
        if not text:
            break
        place = text.find(_SYSCALL)
        if place >= 0:
            return at + place
        at += max(len(text) - 1, 1)
    return None


def request(number: int, pid: int, address: int = 0, data: int = 0) -> int:
    """Make a request of ptrace(2) and return its result. Raises OSError."""
    result: int = _ptrace(number, pid, address, data)
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"ptrace of process {pid}: {os.strerror(errno)}")
    return result
