"""System calls on users, groups and capabilities (kernel/sys.c, kernel/capability.c)."""

import struct
from errno import EFAULT, EINVAL, EPERM, ESRCH
from typing import Final

from dcss.errors import KernelError
from vmguest.identity import ALL, CAP_SETGID, CAP_SETUID, Identity, Ids
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import INT
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_HEADER: Final = struct.Struct(">Ii")  # struct __user_cap_header_struct
_SETS: Final = struct.Struct(">3I")  # struct __user_cap_data_struct: effective, permitted, inheritable
_VERSIONS: Final = {0x1998_0330: 1, 0x2007_1026: 2, 0x2008_0522: 2}  # how many structures each has
_NEWEST: Final = 0x2008_0522
_MOST_GROUPS: Final = 65_536


def take_identity(system: System, thread: Thread, identity: Identity) -> int:
    """Have a process be somebody else; files see that at once."""
    thread.process.take_identity(identity)
    system.vfs.user = thread.process.credentials
    return 0


def _users(system: System, thread: Thread, users: Ids) -> int:
    return take_identity(system, thread, thread.process.identity.with_users(users))


def _groups(system: System, thread: Thread, groups: Ids) -> int:
    return take_identity(system, thread, thread.process.identity._replace(groups=groups))


def _may(thread: Thread, capability: int) -> bool:
    return thread.process.identity.capabilities.has(capability)


@CALLS.add()
def getuid(_system: System, thread: Thread) -> int:
    """Tell the real user."""
    return thread.process.identity.users.real


@CALLS.add()
def geteuid(_system: System, thread: Thread) -> int:
    """Tell the effective user."""
    return thread.process.identity.users.effective


@CALLS.add()
def getgid(_system: System, thread: Thread) -> int:
    """Tell the real group."""
    return thread.process.identity.groups.real


@CALLS.add()
def getegid(_system: System, thread: Thread) -> int:
    """Tell the effective group."""
    return thread.process.identity.groups.effective


@CALLS.add("uint")
def setuid(system: System, thread: Thread, uid: int) -> int:
    """Become another user."""
    _check_ids(uid)
    return _users(system, thread, thread.process.identity.users.become(uid, powerful=_may(thread, CAP_SETUID)))


@CALLS.add("uint")
def setgid(system: System, thread: Thread, gid: int) -> int:
    """Become a member of another group."""
    _check_ids(gid)
    return _groups(system, thread, thread.process.identity.groups.become(gid, powerful=_may(thread, CAP_SETGID)))


@CALLS.add("uint", "uint")
def setreuid(system: System, thread: Thread, *wanted: int) -> int:
    """Become another user, in effect or for good."""
    return _users(system, thread, thread.process.identity.users.exchange(*wanted, powerful=_may(thread, CAP_SETUID)))


@CALLS.add("uint", "uint")
def setregid(system: System, thread: Thread, *wanted: int) -> int:
    """Become a member of another group, in effect or for good."""
    return _groups(system, thread, thread.process.identity.groups.exchange(*wanted, powerful=_may(thread, CAP_SETGID)))


@CALLS.add("uint", "uint", "uint")
def setresuid(system: System, thread: Thread, *wanted: int) -> int:
    """Set each of the user's ids."""
    return _users(system, thread, thread.process.identity.users.set(*wanted, powerful=_may(thread, CAP_SETUID)))


@CALLS.add("uint", "uint", "uint")
def setresgid(system: System, thread: Thread, *wanted: int) -> int:
    """Set each of the group's ids."""
    return _groups(system, thread, thread.process.identity.groups.set(*wanted, powerful=_may(thread, CAP_SETGID)))


@CALLS.add("uint")
def setfsuid(_system: System, thread: Thread, _uid: int) -> int:
    """Leave the user that files see, which is the effective one, and tell it."""
    return thread.process.identity.users.effective


@CALLS.add("uint")
def setfsgid(_system: System, thread: Thread, _gid: int) -> int:
    """Leave the group that files see, which is the effective one, and tell it."""
    return thread.process.identity.groups.effective


def _check_ids(number: int) -> None:
    if number == 0xFFFF_FFFF:
        raise KernelError(EINVAL, "id 4294967295: means none")


def _three(thread: Thread, ids: Ids, addresses: tuple[int, ...]) -> int:
    for number, address in zip(ids, addresses, strict=True):
        thread.process.space.write(address, struct.pack(">I", number))
    return 0


@CALLS.add("address", "address", "address")
def getresuid(_system: System, thread: Thread, *addresses: int) -> int:
    """Tell the real, effective and saved user."""
    return _three(thread, thread.process.identity.users, addresses)


@CALLS.add("address", "address", "address")
def getresgid(_system: System, thread: Thread, *addresses: int) -> int:
    """Tell the real, effective and saved group."""
    return _three(thread, thread.process.identity.groups, addresses)


@CALLS.add("int", "address")
def getgroups(_system: System, thread: Thread, size: int, buffer: int) -> int:
    """Tell the other groups."""
    groups = sorted(thread.process.credentials.groups)
    if size < 0 or 0 < size < len(groups):
        raise KernelError(EINVAL, f"{len(groups)} groups into {size}")
    if size:
        thread.process.space.write(buffer, struct.pack(f">{len(groups)}I", *groups))
    return len(groups)


@CALLS.add("int", "address")
def setgroups(system: System, thread: Thread, size: int, buffer: int) -> int:
    """Set the other groups."""
    if not _may(thread, CAP_SETGID):
        raise KernelError(EPERM, "setgroups: wanted CAP_SETGID")
    if not 0 <= size <= _MOST_GROUPS:
        raise KernelError(EINVAL, f"{size} groups")
    process = thread.process
    groups = struct.unpack(f">{size}I", process.space.read(buffer, 4 * size))
    process.credentials = system.vfs.user = process.credentials._replace(groups=frozenset(groups))
    return 0


@CALLS.add("address", "address")
def capget(system: System, thread: Thread, header: int, data: int) -> int:
    """Tell a process's capabilities."""
    space = thread.process.space
    pid, count = _read_header(thread, header, asks=not data)
    if not count or not data:
        return 0
    found = system.table.threads.get(pid) if pid else thread
    if pid < 0 or found is None:
        raise KernelError(EINVAL if pid < 0 else ESRCH, f"capget of process {pid}: there is none")
    sets = found.process.identity.capabilities
    told = (sets.effective, sets.permitted, sets.inheritable)
    words = [_SETS.pack(*(each >> 32 * index & 0xFFFF_FFFF for each in told)) for index in range(count)]
    space.write(data, b"".join(words))
    return 0


@CALLS.add("address", "address")
def capset(system: System, thread: Thread, header: int, data: int) -> int:
    """Give capabilities up, for a time or for good."""
    process = thread.process
    pid, count = _read_header(thread, header, asks=False)
    if pid not in {0, thread.tid}:
        raise KernelError(EPERM, f"capset of process {pid}: a process changes its own")
    if not data:
        raise KernelError(EFAULT, "capset without sets")
    words = list(_SETS.iter_unpack(process.space.read(data, count * _SETS.size)))
    effective, permitted, inheritable = (
        sum(word << 32 * index for index, word in enumerate(each)) & ALL for each in zip(*words, strict=True)
    )
    identity = process.identity
    changed = identity.capabilities.changed(permitted, effective, inheritable)
    return take_identity(system, thread, identity._replace(capabilities=changed))


def _read_header(thread: Thread, header: int, *, asks: bool) -> tuple[int, int]:
    """Return whose capabilities are meant, and in how many structures.

    For a version that there is not, the newest one is stored. Raises KernelError(EINVAL) then, but for who only asks.
    """
    space = thread.process.space
    version, pid = _HEADER.unpack(space.read(header, _HEADER.size))
    count = _VERSIONS.get(version, 0)
    if not count:
        space.write(header, INT.pack(_NEWEST))
        if not asks:
            raise KernelError(EINVAL, f"capabilities of version {version:#x}: there is none")
    return pid, count
