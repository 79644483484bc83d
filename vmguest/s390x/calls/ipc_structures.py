"""What the system calls on the three kinds of System V's objects have in common: commands, and who owns an object."""

import struct
from errno import EIDRM, EINVAL
from typing import Final

from dcss.errors import KernelError
from vmguest.s390x.ipc_objects import IpcObject, IpcTable, Object
from vmguest.s390x.process import Thread
from vmguest.s390x.space import UserSpace

IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO = 0, 1, 2, 3
IPC_64: Final = 0x100  # of a command: the structures that s390x has anyway
# struct ipc64_perm: key, owner, creator, mode, how often it was used.
_PERMISSION: Final = struct.Struct(">i4II2xH4x16x")


def find_again(table: IpcTable[Object], thread: Thread, number: int) -> Object:
    """Return an object by its id. Raises KernelError: EINVAL, EIDRM where it was removed while the call waited."""
    try:
        return table.find(number)
    except KernelError as error:
        raise KernelError(EIDRM if thread.in_call else EINVAL, str(error)) from error


def pack_permission(found: IpcObject, more_mode: int = 0) -> bytes:
    """Return struct ipc64_perm, 48 bytes, with which the structures of all kinds begin."""
    owner, creator = found.owner, found.creator
    return _PERMISSION.pack(found.key, owner.uid, owner.gid, creator.uid, creator.gid, found.mode | more_mode, 0)


def read_permission(space: UserSpace, address: int) -> tuple[int, int, int]:
    """Return the owner, its group and the mode that a program wants (IPC_SET)."""
    _, uid, gid, _, _, mode, _ = _PERMISSION.unpack(space.read(address, _PERMISSION.size))
    return uid, gid, mode
