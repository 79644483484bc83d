"""The system calls at which a traced program stops, as seccomp(2) and ptrace(2) have it; then the program itself.

As a program (`main`), this waits until it is traced, arranges for the stops, and becomes the program to be traced.
"""

import os
import sys
from typing import Final, NoReturn

from dcss.host.seccomp import (
    ALLOW,
    ARCH,
    ARCHES,
    JUMP_EQUAL,
    LOAD,
    NUMBER,
    RETURN,
    Instruction,
    apply_filter,
    forbid_new_privileges,
)

_TRACE: Final = 0x7FF0_0000  # SECCOMP_RET_TRACE; its lower 16 bits come with the stop
# What takes memory away from a process, and what reads files; their numbers on ARCHES. A stop comes with the place in
# the table.
CALLS: Final = {
    "munmap": (11, 215),
    "execve": (59, 221),
    "execveat": (322, 281),
    "read": (0, 63),
    "readv": (19, 65),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "preadv2": (327, 286),
    "sendfile": (40, 71),
    "copy_file_range": (326, 285),
    "splice": (275, 76),
}
NAMES: Final = tuple(CALLS)


def unknown_because() -> str | None:
    """Return why programs stop at no system call here, or None where they do."""
    machine = os.uname().machine
    return None if machine in ARCHES else f"the numbers of system calls of {machine} are not known"


def stops_at_calls() -> list[Instruction]:
    """Return a filter that allows everything, and stops a traced process at the calls of the table."""
    machine = os.uname().machine
    column = list(ARCHES).index(machine)
    instructions = [
        (LOAD, 0, 0, ARCH),
        (JUMP_EQUAL, 1, 0, ARCHES[machine]),
        (RETURN, 0, 0, ALLOW),
        (LOAD, 0, 0, NUMBER),
    ]
    for place, numbers in enumerate(CALLS.values()):
        instructions += [(JUMP_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, _TRACE | place)]
    return [*instructions, (RETURN, 0, 0, ALLOW)]


def main() -> NoReturn:
    """Become the program that the arguments name, behind two descriptors.

    By the second one a byte goes when this program runs, and later faults. By the first one a byte comes when it is
    traced.
    """
    traced, faults = map(int, sys.argv[1:3])
    command = sys.argv[3:]
    os.write(faults, b"+")
    os.read(traced, 1)
    os.close(traced)
    try:
        if unknown_because() is None:
            forbid_new_privileges()
            apply_filter(stops_at_calls())
        os.set_inheritable(faults, False)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(faults, os.fsencode(error.strerror or str(error)))
    os._exit(127)
