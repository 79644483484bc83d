"""System calls on shared memory of System V, by ipc(2) or by numbers of their own; semaphores and messages lack."""

import struct
from errno import EINVAL
from time import time
from typing import Final

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest.mm_area import PROT_EXEC, PROT_READ, PROT_WRITE
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import ULONG
from vmguest.s390x.process import Thread
from vmguest.s390x.shared_segments import SHM_DEST, SharedSegment
from vmguest.s390x.system import System

CALLS = CallGroup()
_SHM_RDONLY, _SHM_RND, _SHM_REMAP, _SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
_IPC_RMID, _IPC_SET, _IPC_STAT, _SHM_LOCK, _SHM_UNLOCK = 0, 1, 2, 11, 12
_IPC_64: Final = 0x100  # of a command: the structures that s390x has anyway
# struct shmid64_ds: key, owner, creator, mode, number of uses; size; times; processes; mappings.
_SHMID_DS = struct.Struct(">i4II2xH4x16xQqqqiiQ16x")
_READ, _WRITE, _EXECUTE = 4, 2, 1


@CALLS.add("int", "size", "flags")
def shmget(system: System, thread: Thread, key: int, size_bytes: int, flags: int) -> int:
    """Find or make a segment of shared memory."""
    process = thread.process
    return system.segments.get(process.credentials, process.pid, key, size_bytes, flags)


@CALLS.add("int", "address", "flags")
def shmat(system: System, thread: Thread, number: int, address: int, flags: int) -> int:
    """Map a segment."""
    process, segment = thread.process, system.segments.find(number)
    if address % PAGE_SIZE:
        if not flags & _SHM_RND:
            raise KernelError(EINVAL, f"shmat at {address:#x}: within a page")
        address -= address % PAGE_SIZE
    if flags & _SHM_REMAP and not address:
        raise KernelError(EINVAL, "shmat: SHM_REMAP without an address")
    writes, executes = not flags & _SHM_RDONLY, flags & _SHM_EXEC
    segment.check(process.credentials, _READ | (_WRITE if writes else 0) | (_EXECUTE if executes else 0))
    pages = segment.memory.pages
    if address and not flags & _SHM_REMAP and process.space.is_mapped(address >> PAGE_SHIFT, pages):
        raise KernelError(EINVAL, f"shmat at {address:#x}: something is mapped there")
    protection = PROT_READ | (PROT_WRITE if writes else 0) | (PROT_EXEC if executes else 0)
    place = process.space.map(segment.memory, 0, pages, protection, shared=True, address=address or None)
    segment.attached, segment.last_pid = int(time()), process.pid
    return place


@CALLS.add("address")
def shmdt(system: System, thread: Thread, address: int) -> int:
    """Unmap a segment."""
    space, first = thread.process.space, address >> PAGE_SHIFT
    area = None if address % PAGE_SIZE else space.areas.find(first)
    segment = None if area is None or area.file_page else system.segments.of_memory(area.file)
    if area is None or segment is None or area.first_page != first:
        raise KernelError(EINVAL, f"shmdt at {address:#x}: no segment is mapped there")
    for each in list(space.areas):
        if each.file is segment.memory and each.first_page - each.file_page == first:
            space.unmap_pages(each.first_page, each.pages)
    segment.detached, segment.last_pid = int(time()), thread.process.pid
    return 0


@CALLS.add("int", "int", "address")
def shmctl(system: System, thread: Thread, number: int, command: int, buffer: int) -> int:
    """Tell what a segment is, change its owner and mode, or remove it."""
    command &= ~_IPC_64
    if command not in {_IPC_RMID, _IPC_SET, _IPC_STAT, _SHM_LOCK, _SHM_UNLOCK}:
        raise KernelError(EINVAL, f"shmctl {command}")
    segment, process = system.segments.find(number), thread.process
    if command == _IPC_STAT:
        segment.check(process.credentials, _READ)
        process.space.write(buffer, _packed(segment))
        return 0
    if command in {_SHM_LOCK, _SHM_UNLOCK}:
        return 0  # nothing is ever paged out
    segment.check_owner(process.credentials)
    if command == _IPC_RMID:
        system.segments.remove(segment)
        return 0
    _, uid, gid, _, _, mode, *_ = _SHMID_DS.unpack(process.space.read(buffer, _SHMID_DS.size))
    segment.owner = segment.owner._replace(uid=uid, gid=gid)
    segment.mode, segment.changed = mode & 0o777, int(time())
    return 0


def _packed(segment: SharedSegment) -> bytes:
    owner, creator = segment.owner, segment.creator
    mode = segment.mode | (SHM_DEST if segment.doomed else 0)
    times = segment.attached, segment.detached, segment.changed
    return _SHMID_DS.pack(
        *(segment.key, owner.uid, owner.gid, creator.uid, creator.gid, mode, 0, segment.size_bytes, *times),
        *(segment.creator_pid, segment.last_pid, segment.mappings),
    )


_SHMAT, _SHMDT, _SHMGET, _SHMCTL = 21, 22, 23, 24
_OTHERS: Final = frozenset({1, 2, 3, 4, 11, 12, 13, 14})  # semaphores and messages


@CALLS.add("uint", "int", "ulong", "ulong", "address")
def ipc(system: System, thread: Thread, call: int, first: int, second: int, third: int, pointer: int) -> int:
    """Make a call of System V's by its number among them; s390 has five parameters."""
    if call == _SHMGET:
        return shmget(system, thread, first, second, third & 0xFFFF_FFFF) or 0
    if call == _SHMAT:
        place = shmat(system, thread, first, pointer, second & 0xFFFF_FFFF) or 0
        thread.process.space.write(third, ULONG.pack(place))
        return 0
    if call == _SHMDT:
        return shmdt(system, thread, pointer) or 0
    if call == _SHMCTL:
        return shmctl(system, thread, first, second & 0xFFFF_FFFF, pointer) or 0
    if call in _OTHERS:
        return system.unknown(f"system call ipc (117) with number {call}, of semaphores or messages,")
    raise KernelError(EINVAL, f"ipc {call}")
