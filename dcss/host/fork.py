"""Fork a sibling: a copy of this process whose parent is this process's own parent.

A process that forks for somebody else would have to wait for what it forked, and hold it up when it ends itself. With
CLONE_PARENT (clone(2)) the copies are children of whoever started this process, who waits for them as for this one.
"""

import ctypes
import os
import platform
import signal
from errno import ENOSYS

CLONE_PARENT = 0x00008000
# The number of clone(2). The C library's clone() wants a stack and a function; its fork() takes no flags.
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220, "ppc64le": 120, "s390x": 120}
_STACK_FIRST = frozenset({"s390x"})  # there the child's stack is the first argument, and the flags the second

_MACHINE = platform.machine()
_FLAGS = CLONE_PARENT | signal.SIGCHLD
_ARGUMENTS = [_CLONE.get(_MACHINE, -1), *((0, _FLAGS) if _MACHINE in _STACK_FIRST else (_FLAGS, 0)), 0, 0, 0]
# PyDLL: its calls keep the interpreter's lock, so that no other thread is in it while it is copied.
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * len(_ARGUMENTS)
_before, _after_in_parent = ctypes.pythonapi.PyOS_BeforeFork, ctypes.pythonapi.PyOS_AfterFork_Parent
_after_in_child = ctypes.pythonapi.PyOS_AfterFork_Child


def fork_sibling() -> int:
    """Fork, and return 0 in the copy and its process id here. Its parent is that of this process.

    This process must have one thread. Raises OSError: EAGAIN and ENOMEM as fork(2), ENOSYS where the machine's number
    of clone(2) is not known, EINVAL where this process is the first of its PID namespace.
    """
    _before()
    pid: int = _syscall(*_ARGUMENTS)
    if pid == 0:
        _after_in_child()
        return 0
    _after_in_parent()
    if pid < 0:
        errno = ctypes.get_errno() if _ARGUMENTS[0] >= 0 else ENOSYS
        raise OSError(errno, f"clone(CLONE_PARENT) on {_MACHINE}: {os.strerror(errno)}")
    return pid
