"""Who would hear by a signal that an open file is ready: fcntl keeps it (fs/fcntl.c). No such signal is sent here."""

import struct
from errno import EINVAL, ESRCH
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.open import FileDescription, FileOwner
from vmguest.s390x.process import Thread
from vmguest.s390x.signals import SIGRTMAX
from vmguest.s390x.system import System

_F_SETOWN, _F_GETOWN, _F_SETSIG, _F_GETSIG, _F_SETOWN_EX, _F_GETOWN_EX = 8, 9, 10, 11, 15, 16
OWNER_COMMANDS: Final = frozenset({_F_SETOWN, _F_GETOWN, _F_SETSIG, _F_GETSIG, _F_SETOWN_EX, _F_GETOWN_EX})
_THREAD, _PROCESS, _GROUP = range(3)
_OWNER = struct.Struct(">ii")  # struct f_owner_ex: kind and number
_SIGN = 1 << 31


def file_owner(system: System, thread: Thread, file: FileDescription, command: int, argument: int) -> int:
    """Say or change who hears of an open file, and by which signal. Raises KernelError: EFAULT, EINVAL, ESRCH."""
    number = ((argument & 0xFFFF_FFFF) ^ _SIGN) - _SIGN  # an int
    if command == _F_SETOWN:
        if number == -_SIGN:
            raise KernelError(EINVAL, f"F_SETOWN {number}")
        _set(system, file, _GROUP if number < 0 else _PROCESS, abs(number))
    elif command == _F_GETOWN:
        kind, owner = _living(system, file.owner)
        return -owner if kind == _GROUP else owner
    elif command == _F_SETOWN_EX:
        kind, owner = _OWNER.unpack(thread.process.space.read(argument, _OWNER.size))
        if kind not in {_THREAD, _PROCESS, _GROUP}:
            raise KernelError(EINVAL, f"F_SETOWN_EX: kind {kind}")
        _set(system, file, kind, owner)
    elif command == _F_GETOWN_EX:
        thread.process.space.write(argument, _OWNER.pack(*_living(system, file.owner)))
    elif command == _F_SETSIG:
        if not 0 <= number <= SIGRTMAX:
            raise KernelError(EINVAL, f"F_SETSIG {number}")
        file.owner = file.owner._replace(signal=number)
    else:
        return file.owner.signal
    return 0


def _set(system: System, file: FileDescription, kind: int, number: int) -> None:
    if number and not any(_exists(system, each, number) for each in (_THREAD, _PROCESS, _GROUP)):
        raise KernelError(ESRCH, f"F_SETOWN: nobody is {number}")
    file.owner = file.owner._replace(kind=kind, number=number)


def _living(system: System, owner: FileOwner) -> tuple[int, int]:
    """Return kind and number of an owner, 0 for one that has ended."""
    return owner.kind, owner.number if _exists(system, owner.kind, owner.number) else 0


def _exists(system: System, kind: int, number: int) -> bool:
    table = system.table
    if kind == _GROUP:
        return any(table.group(number))
    return number in (table.threads if kind == _THREAD else table.processes)
