"""Restrict a process to a few system calls for good (seccomp(2)); others fail with EPERM."""

import ctypes
import os
from collections.abc import Sequence
from errno import ENOSYS, EPERM
from struct import Struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_NAME = 38, 15
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_CLONE_THREAD = 0x10000

# <linux/bpf_common.h>, <linux/seccomp.h>
LOAD, JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
NUMBER, ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32_BIT = 0x4000_0000
_INSTRUCTION = Struct("=HBBI")  # struct sock_filter
Instruction = tuple[int, int, int, int]


ARCHES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # AUDIT_ARCH_* of <linux/audit.h>
# The numbers of system calls on these, None where there is none of that name: all that a process needs whose files are
# open and whose code is loaded.
# fmt: off
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "pwrite64": (18, 68),
    "preadv": (295, 69), "pwritev": (296, 70), "lseek": (8, 62), "fstat": (5, 80), "close": (3, 57), "dup": (32, 23),
    "dup2": (33, None), "dup3": (292, 24), "fcntl": (72, 25), "fsync": (74, 82), "fdatasync": (75, 83),
    "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212), "shutdown": (48, 210),
    "poll": (7, None), "ppoll": (271, 73),
    "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226), "madvise": (28, 233),
    "msync": (26, 227), "mincore": (27, 232), "brk": (12, 214), "membarrier": (324, 283),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "getpid": (39, 172), "gettid": (186, 178), "exit": (60, 93), "exit_group": (231, 94), "futex": (202, 98),
    "set_robust_list": (273, 99), "rseq": (334, 293), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "restart_syscall": (219, 128), "gettimeofday": (96, 169), "times": (100, 153), "getrusage": (98, 165),
    "getrandom": (318, 278),
}
_CLONE, _CLONE3, _PRCTL, _TGKILL = (56, 220), (435, 435), (157, 167), (234, 131)
# fmt: on


_NO_PID = 0xFFFF_FFFF  # stands for that of the process that the filter is applied to
_OWN_PID = (JUMP_EQUAL, 0, 1, _NO_PID)
_OPERAND = 4  # its offset in struct sock_filter
_PID = Struct("=I")
_call = ctypes.CDLL(None, use_errno=True).prctl


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def apply_filter(instructions: Sequence[Instruction]) -> None:
    """Apply a filter to this process for good. `forbid_new_privileges` comes first. Raises OSError."""
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)
    text = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(instructions), ctypes.addressof(text))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))


def forbid_new_privileges() -> None:
    """Have no program that this process or its children execute gain privileges (PR_SET_NO_NEW_PRIVS)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


class CallFilter:
    """Allows a process what it needs whose files are open. It is made once, and applied in each process.

    Such a process can make threads and memory, and use its descriptors. It opens no file and no socket, executes no
    program, makes no process and signals no other one.
    """

    def __init__(self) -> None:
        machine = os.uname().machine
        self._code = bytearray()
        self._text = f"no seccomp: the numbers of system calls of {machine} are not known here"
        if machine in ARCHES:
            instructions = _filter(machine)
            self._code += b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)
            self._text = f"seccomp: {len(_CALLS)} system calls are allowed"
            self._pid_at = _INSTRUCTION.size * instructions.index(_OWN_PID) + _OPERAND
            self._instructions = (ctypes.c_char * len(self._code)).from_buffer(self._code)
            address = ctypes.addressof(self._instructions)
            self._program = _Program(len(instructions), address)

    def apply(self) -> str:
        """Apply it to this process for good; return what is in force, or why nothing is.

        `forbid_new_privileges` comes first.
        """
        if self._code:
            _PID.pack_into(self._code, self._pid_at, os.getpid())
            try:
                _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._program))
            except OSError as error:
                return f"no seccomp: {error.strerror}"
        return self._text


def _filter(machine: str) -> list[Instruction]:
    """Return the filter's instructions: code, jumps where true and where false, operand."""
    column = list(ARCHES).index(machine)
    allow = (RETURN, 0, 0, ALLOW)
    refuse = (RETURN, 0, 0, _ERRNO | EPERM)
    instructions = [
        (LOAD, 0, 0, ARCH),
        (JUMP_EQUAL, 1, 0, ARCHES[machine]),
        (RETURN, 0, 0, _KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
        (_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT),
        refuse,
    ]
    for numbers in _CALLS.values():
        if (number := numbers[column]) is not None:
            instructions += [(JUMP_EQUAL, 0, 1, number), allow]
    # glibc then uses clone, whose flags can be looked at here.
    instructions += [(JUMP_EQUAL, 0, 1, _CLONE3[column]), (RETURN, 0, 0, _ERRNO | ENOSYS)]
    for call, jump, wanted in (
        (_CLONE, _JUMP_SET, _CLONE_THREAD),
        (_PRCTL, JUMP_EQUAL, _PR_SET_NAME),
        (_TGKILL, JUMP_EQUAL, _NO_PID),
    ):
        instructions += [
            (JUMP_EQUAL, 0, 4, call[column]),
            (LOAD, 0, 0, _ARGUMENTS),
            (jump, 0, 1, wanted),
            allow,
            refuse,
        ]
    return [*instructions, refuse]


def _prctl(option: int, *arguments: object) -> None:
    unused: Sequence[int] = (0,) * (4 - len(arguments))
    values = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in (*arguments, *unused)]
    if _call(option, *values) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl {option}: {os.strerror(errno)}")
